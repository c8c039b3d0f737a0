from __future__ import annotations

import numpy as np
import pytest
import torch
from dbtssl_implants.losses import mined, presence_loss
from sklearn.metrics import log_loss

LOGITS = torch.tensor([2.0, -1.0, 0.5, 3.0, -2.0, 0.1])
PRESENT = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0])


def outside(rows, weights):
    """scikit-learn's weighted log loss of these rows."""
    p = torch.sigmoid(LOGITS).numpy()[rows]
    return log_loss(PRESENT.numpy()[rows], p, sample_weight=weights)


@pytest.mark.parametrize(
    ("hardest", "rows"),
    [(0.5, [0, 4, 3, 2]), (0.25, [0, 4, 3]), (0.01, [0, 4, 3]), (0.6, [0, 4, 3, 2, 5])],
)
def test_the_hardest_carry_the_weight_of_all_crops_without_object(hardest, rows):
    weights = np.array([1.0, 1.0] + [4.0 / (len(rows) - 2)] * (len(rows) - 2))
    found = presence_loss(LOGITS, PRESENT, hardest).item()
    assert found == pytest.approx(outside(rows, weights), rel=1e-5)


def test_with_all_it_is_the_plain_mean():
    every = list(range(6))
    assert presence_loss(LOGITS, PRESENT, 1.0).item() == pytest.approx(
        outside(every, np.ones(6)), rel=1e-5
    )
    assert torch.equal(mined(LOGITS, PRESENT > 0, 1.0), torch.ones(6))


def test_easy_crops_have_no_gradient_and_those_with_an_object_all_have_theirs():
    logits = LOGITS.clone().requires_grad_()
    presence_loss(logits, PRESENT, 0.25).backward()
    assert logits.grad is not None
    assert (logits.grad != 0).tolist() == [True, False, False, True, True, False]


@pytest.mark.parametrize("present", [True, False])
def test_a_batch_of_one_sort_alone_is_fine(present):
    everywhere = torch.full((6,), present)
    weights = mined(LOGITS, everywhere, 0.5)
    assert weights.mean().item() == pytest.approx(1.0)
    assert int((weights > 0).sum()) == (6 if present else 3)
