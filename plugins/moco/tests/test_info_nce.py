"""InfoNCE against worked numbers and lightly."""

from __future__ import annotations

import math

import pytest
import torch
from dbtssl_moco.objective import info_nce
from lightly.loss import NTXentLoss

from .conftest import unit


def test_info_nce_on_worked_numbers():
    q = k = torch.tensor([[1.0, 0.0]])
    queue = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    expected = -math.log(math.exp(2) / (math.exp(2) + 1 + math.exp(-2)))
    assert info_nce(q, k, queue, 0.5).item() == pytest.approx(expected)


def test_info_nce_equals_lightlys_with_a_memory_bank():
    q, k, bank = unit(8, 5, seed=1), unit(8, 5, seed=2), unit(20, 5, seed=3)
    theirs = NTXentLoss(temperature=0.2, memory_bank_size=(20, 5))
    theirs.memory_bank.bank = bank
    torch.testing.assert_close(info_nce(q, k, bank, 0.2), theirs(q, k))


def test_an_excluded_key_is_as_if_it_were_not_there():
    q, k, bank = unit(3, 5, seed=1), unit(3, 5, seed=2), unit(6, 5, seed=3)
    stale = torch.zeros(3, 6, dtype=torch.bool)
    stale[:, 2] = stale[:, 5] = True
    fewer = info_nce(q, k, bank[[0, 1, 3, 4]], 0.2)
    torch.testing.assert_close(info_nce(q, k, bank, 0.2, stale), fewer)


def test_mixed_precision_does_not_round_the_cosines():
    q, k, bank = unit(8, 5, seed=1), unit(8, 5, seed=2), unit(20, 5, seed=3)
    expected = info_nce(q, k, bank, 0.2)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(info_nce(q, k, bank, 0.2), expected)
