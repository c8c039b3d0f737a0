from __future__ import annotations

import pytest
import torch

from dbtssl.testing.resume import check_resume
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
