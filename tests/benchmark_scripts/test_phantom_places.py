"""Lesions against patches placed blindly, and against patches placed as lesions are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score


def patches(places, n=40):
    what = np.repeat([places.LESION, places.BLIND, places.MATCHED], n)
    kind = np.where(what == places.LESION, np.tile(["spiculated", "distortion"], 3 * n // 2), "")
    patient = np.tile(np.arange(n // 2), 6)
    pixels = np.random.default_rng(0).random((3 * n, 4, 4)).astype(np.float32)
    return places.Patches(pixels, what, kind, patient)


def test_a_network_that_knows_the_place_alone_is_seen_through(places):
    p = patches(places)
    place = (p.what != places.BLIND) + 0.01 * np.random.default_rng(1).random(len(p.what))
    found = places.measured(p, [place])
    assert found["against blind"]["value"] == 1.0
    assert found["against matched"]["low"] < 0.5 < found["against matched"]["high"]


def test_the_auc_is_the_mean_over_seeds_of_scikit_learns(places):
    p = patches(places)
    rng = np.random.default_rng(2)
    score = [rng.normal(size=len(p.what)) + k * (p.what == places.LESION) for k in (0.0, 1.0)]
    found = places.measured(p, score)
    for name, other in (("against blind", places.BLIND), ("against matched", places.MATCHED)):
        part = (p.what == places.LESION) | (p.what == other)
        each = [roc_auc_score(p.what[part] == places.LESION, s[part]) for s in score]
        assert found[name]["seeds"] == pytest.approx(each)
        assert found[name]["value"] == pytest.approx(np.mean(each))
    part = (p.kind == "distortion") | (p.what == places.MATCHED)
    each = [roc_auc_score(p.kind[part] == "distortion", s[part]) for s in score]
    assert found["distortion"]["value"] == pytest.approx(np.mean(each))
    assert "0.5" in places.text({"row": found})


def test_scores_are_those_of_the_network_in_order(places):
    p = patches(places, n=100)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 1))
    expected = network(torch.from_numpy(p.pixels)[:, None])[:, 0]
    np.testing.assert_allclose(places.scores(network, p.pixels), expected.detach(), rtol=1e-5)


def test_too_few_patients_have_no_interval(places):
    p = patches(places)
    few = p._replace(patient=p.patient % 2)
    found = places.measured(few, [np.random.default_rng(4).normal(size=len(p.what))])
    assert all(of["low"] is None and 0 < of["value"] < 1 for of in found.values())
