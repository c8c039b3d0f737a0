from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from dbtssl.config import Config
from dbtssl.data.records import SliceRef
from dbtssl.plugins import registry
from dbtssl.testing.resume import check_draws, check_resume
from dbtssl.testing.toy_cohort import toy_cohort
from dbtssl.testing.toy_objective import toy_objective

FIELDS = {"dim": 6, "hidden": 8, "crop_size": 20}


def build(seed):
    return toy_objective("simclr", FIELDS, seed=seed)


def test_a_sound_objective_passes_and_its_state_has_one_hash(tmp_path):
    found = [check_resume(build, tmp_path / x, optimizer="lars") for x in ("a", "b")]
    assert found[0] == found[1]
    assert len(found[0]) == 64
    assert check_resume(build, tmp_path / "c", optimizer="sgd") != found[0]


def forgetful(seed):
    """Its loss depends on a number that is in no state_dict."""
    objective = build(seed)
    objective.scale, forward = 1.0, objective.forward

    def scaled(batch):
        step = forward(batch)
        objective.scale *= 0.9
        return type(step)(step.loss * objective.scale, step.logs)

    objective.forward = scaled
    return objective


def test_what_is_not_in_the_state_is_found(tmp_path):
    with pytest.raises(AssertionError, match="parts of the state differ after a kill"):
        check_resume(forgetful, tmp_path, optimizer="sgd")


def test_a_generator_of_its_own_is_found(tmp_path):
    def noisy(seed):
        objective = build(seed)
        forward, generator = objective.forward, torch.Generator().manual_seed(0)

        def noise(batch):
            step = forward(batch)
            return type(step)(step.loss * torch.rand((), generator=generator), step.logs)

        objective.forward = noise
        return objective

    with pytest.raises(AssertionError, match="must hold all that decides the future"):
        check_resume(noisy, tmp_path, optimizer="sgd")


def test_a_plan_of_another_length_is_refused(tmp_path):
    with pytest.raises(AssertionError, match="of step 8, expected 20"):
        check_resume(build, tmp_path, epochs=2)


class Drawing:
    """A slice of the anchor's volume, by the number in [0, 1) that ``draw`` gives."""

    Config = Config

    def __init__(self, draw):
        self.draw = draw

    def positive(self, anchor, cohort, rng):
        return SliceRef(anchor.volume, int(self.draw(rng) * cohort[anchor.volume].n_slices))


class Counting(Drawing):
    def __init__(self):
        self.calls = 0

    def positive(self, anchor, cohort, rng):
        self.calls += 1
        return SliceRef(anchor.volume, self.calls % cohort[anchor.volume].n_slices)


GENERATOR = np.random.default_rng(0)
OWN = {
    "random": Drawing(lambda rng: random.random()),
    "default_rng": Drawing(lambda rng: np.random.default_rng().random()),
    "numpy": Drawing(lambda rng: np.random.rand()),  # noqa: NPY002
    "torch": Drawing(lambda rng: torch.rand(()).item()),
    "a generator of its own": Drawing(lambda rng: GENERATOR.random()),
    "how much it takes": Drawing(lambda rng: 0 * rng.random(1 + (random.random() < 0.5))[0]),
    "half the time": Drawing(lambda rng: rng.random() if rng.random() < 0.9 else random.random()),
    "what was asked before": Counting(),
}


@pytest.mark.parametrize("what", OWN)
def test_a_sampler_that_draws_its_own_numbers_is_found(tmp_path, what):
    with pytest.raises(AssertionError, match="must come from the rng that is passed in"):
        check_resume(build, tmp_path, sampler=OWN[what])


def test_a_sampler_that_takes_its_numbers_from_the_generator_passes(tmp_path):
    before = random.getstate()
    sound = Drawing(lambda rng: rng.random())
    found = check_resume(build, tmp_path / "a", sampler=sound, optimizer="sgd")
    assert found != check_resume(build, tmp_path / "b", optimizer="sgd"), "pairs change the weights"
    assert random.getstate() == before
    check_draws(
        registry().build("sampler", "metadata-pairs", {}), toy_cohort(tmp_path / "c").cohort
    )


def test_slices_of_a_toy_cohort_differ_on_request(tmp_path):
    for differ in (False, True):
        slices = toy_cohort(tmp_path / str(differ), slices_differ=differ)
        images = [slices.read(SliceRef(0, z)) for z in range(3)]
        assert (not np.array_equal(images[0], images[1])) is differ
        assert (not np.array_equal(images[1], images[2])) is differ
