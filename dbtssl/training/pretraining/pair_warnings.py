"""Pairs that a cohort cannot give: said before the first step, and kept beside the row."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np

from dbtssl.data.prepared.unlabelled import with_slices
from dbtssl.data.records import Cohort, SliceRef
from dbtssl.training.pretraining import contract_checks as promises

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dbtssl.interfaces import Sampler

SHARE = 0.1  # of the training volumes; below it the mean pair is what it should be
MOSTLY = 0.5  # volumes without a partner: where more have none, the fallback is the rule
LOOKED_AT = 200  # volumes of one slice that are tried
DRAWS = 8  # pairs of each
STREAM = 3  # beside those of `pairs`


def weak_pairs(
    sampler: Sampler, cohort: Cohort, fallen_back: Mapping[str, float], seed: int
) -> tuple[str, ...]:
    """In words, what ``sampler`` cannot do in ``cohort``; nothing where pairs are as they are meant to be.

    A volume of one slice has no neighbours. It counts where the sampler pairs it with itself and would not, had it more
    slices; one that pairs every slice with itself is what it is meant to be. ``fallen_back`` is `no_partner`.
    """
    out = []
    alone = [i for i, v in enumerate(cohort) if v.n_slices == 1]
    if len(alone) >= SHARE * len(cohort) and alone and _would_pair(sampler, cohort, alone, seed):
        out.append(
            f"{len(alone):,} of {len(cohort):,} training volumes have one slice, which has no neighbour: the sampler "
            "pairs it with itself, so that what it is meant to teach is not in these pairs"
        )
    share = fallen_back.get("no_partner", 0.0)
    if share > MOSTLY:
        out.append(
            f"the sampler finds no partner for {100 * share:.0f} % of the training volumes and takes its fallback "
            "there, so that most pairs are not those of the method"
        )
    return tuple(out)


def _would_pair(sampler: Sampler, cohort: Cohort, alone: list[int], seed: int) -> bool:
    """Whether ``sampler`` pairs the only slices of volumes with themselves, and would not in a taller cohort."""
    some = [alone[int(i)] for i in np.linspace(0, len(alone) - 1, min(len(alone), LOOKED_AT))]
    itself = [_itself(sampler, cohort, volume, seed) for volume in some]
    if not all(itself):
        return False
    try:
        other = copy.deepcopy(sampler)  # one that remembers a cohort must not remember this one
    except Exception:
        return False
    taller = with_slices(cohort, 2 * DRAWS)
    return not all(_itself(other, taller, volume, seed) for volume in some)


def _itself(sampler: Sampler, cohort: Cohort, volume: int, seed: int) -> bool:
    """Whether all drawn positives of a slice in the middle of ``volume`` are that slice."""
    rng = np.random.default_rng([STREAM, seed, volume])
    anchor = SliceRef(volume, cohort[volume].n_slices // 2)
    return all(promises.positive(sampler, anchor, cohort, rng) == anchor for _ in range(DRAWS))
