"""Lesions: size, depth, place and visibility."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dbtssl.data.records import Label
from dbtssl.phantom.cohort.phantom_cohort import PlannedVolume, grid_of, plan
from dbtssl.phantom.findings import lesions
from dbtssl.phantom.imaging.render import render
from dbtssl.phantom.model.phantom_config import PhantomConfig
from dbtssl.phantom.model.subject import Breast, Lesion, Positioning, Technique

SPICULES = {"circumscribed": 0, "spiculated": 30, "distortion": 30}


def volume_with(kind, projection, left, config, radius=8.0):
    breast = Breast(seed=3, twin=4, density=0.15, thickness=56.0)
    positioning = Positioning(projection, left, pectoral=0.35)
    grid, shape = grid_of(config, breast, positioning)
    lesion = Lesion(kind, (0.5, 0.15, 0.1), radius, 1.0, SPICULES[kind], seed=5)
    box = lesions.box(lesion, Label.CANCER, shape, grid, left)
    return PlannedVolume(
        patient="DBT-P00001",
        study="DBT-S00001",
        view=("l" if left else "r") + projection,
        label=Label.CANCER,
        n_slices=grid.n_slices,
        rows=grid.rows,
        columns=grid.columns,
        thickness=shape.thickness,
        boxes=(box,),
        breast=breast,
        lesion=lesion,
        positioning=positioning,
        technique=Technique(seed=6),
        rotated=False,
    )


@pytest.mark.parametrize("kind", list(SPICULES))
@pytest.mark.parametrize(("projection", "left"), [("cc", True), ("mlo", True), ("mlo", False)])
def test_box_is_on_the_lesion(kind, projection, left):
    config = PhantomConfig(rows=192)
    planned = volume_with(kind, projection, left, config)
    ill, boxes = render(config, planned)
    healthy, none = render(config, planned.without_lesion())
    (box,) = boxes
    assert none == ()
    difference = ill[box.z].astype(float) - healthy[box.z]
    x, y = int(box.x + box.width / 2), int(box.y + box.height / 2)
    assert difference[y - 1 : y + 2, x - 1 : x + 2].mean() > (0 if box.distortion else 20)
    inside = difference[box.y : box.y + box.height, box.x : box.x + box.width]
    brighter = difference.clip(0) ** 2
    assert (inside.clip(0) ** 2).sum() > (0.9 if box.distortion else 0.99) * brighter.sum()
    middle = [(2 * c + n) / 2 for c, n in ((box.y, box.height), (box.x, box.width))]
    found = [np.average(range(len(w)), weights=w) for w in (brighter.sum(1), brighter.sum(0))]
    np.testing.assert_allclose(found, middle, atol=4 if box.distortion else 2)


@pytest.mark.parametrize(("projection", "left"), [("cc", True), ("mlo", True), ("mlo", False)])
def test_a_small_lesion_is_brightest_on_the_slice_of_its_box(projection, left):
    config = PhantomConfig(rows=256)
    planned = volume_with("circumscribed", projection, left, config, radius=2.5)
    ill, ((box),) = render(config, planned)
    healthy, _ = render(config, planned.without_lesion())
    x, y = int(box.x + box.width / 2), int(box.y + box.height / 2)
    difference = (ill.astype(float) - healthy)[:, y - 1 : y + 2, x - 1 : x + 2].mean((1, 2))
    assert abs(int(difference.argmax()) - box.z) <= 2


def test_both_projections_see_the_lesion_as_far_behind_the_nipple():
    config = PhantomConfig(rows=512)
    distance = {}
    for projection in ("cc", "mlo"):
        planned = volume_with("circumscribed", projection, True, config)
        _, shape = grid_of(config, planned.breast, planned.positioning)
        (box,) = planned.boxes
        u = (box.x + box.width / 2) * config.pixel
        distance[projection] = 1 - u / shape.length
    assert distance["cc"] == pytest.approx(distance["mlo"], abs=0.02)
    assert distance["cc"] == pytest.approx(0.5, abs=0.03)


def test_contrast_is_visible():
    config = PhantomConfig(rows=128)
    planned = volume_with("circumscribed", "cc", True, config)
    found = []
    for contrast in (0.0, 0.5, 1.0):
        lesion = replace(planned.lesion, contrast=contrast)
        volume, ((box),) = render(config, replace(planned, lesion=lesion))
        x, y = int(box.x + box.width / 2), int(box.y + box.height / 2)
        found.append(volume[box.z, y, x])
    assert found[0] < found[1] < found[2]


@pytest.fixture(scope="module")
def cohort():
    """Ill volumes of three thousand patients."""
    config = PhantomConfig(patients=3000, rows=2048, seed=3)
    return [v for v in plan(config) if v.label.abnormal], config


def test_sizes_are_those_of_bcs_dbt(cohort):
    """The largest do not fit into small breasts, so their quantile may fall short."""
    volumes, config = cohort
    for distortion, sides in ((False, lesions.MASS_SIDE), (True, lesions.DISTORTION_SIDE)):
        boxes = [b for v in volumes for b in v.boxes if b.distortion is distortion]
        found = [np.sqrt(b.width * b.height) * config.pixel for b in boxes]
        quantiles = np.quantile(found, lesions.LEVELS[1:6])
        np.testing.assert_allclose(quantiles[:4], sides[1:5], rtol=0.12)
        assert 0.8 * sides[5] <= quantiles[4] <= 1.1 * sides[5]


def test_depths_are_those_of_bcs_dbt(cohort):
    volumes, _ = cohort
    found = [b.z / v.n_slices for v in volumes for b in v.boxes if v.view.endswith("cc")]
    np.testing.assert_allclose(
        np.quantile(found, lesions.LEVELS[1:6]), lesions.RELATIVE_DEPTH[1:6], atol=0.06
    )


def test_share_of_distortions_is_that_of_bcs_dbt(cohort):
    volumes, _ = cohort
    for label, share in ((Label.BENIGN, 0.38), (Label.CANCER, 0.29)):
        boxes = [b.distortion for v in volumes for b in v.boxes if b.label is label]
        assert np.mean(boxes) == pytest.approx(share, abs=0.08)


def test_boxes_lie_in_the_image(cohort):
    volumes, _ = cohort
    for v in volumes:
        for b in v.boxes:
            assert 0 <= b.z < v.n_slices
            assert b.x >= 0
            assert b.y >= 0
            assert b.x + b.width <= v.columns
            assert b.y + b.height <= v.rows
