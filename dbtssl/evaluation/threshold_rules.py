"""Rules that choose a threshold, and the thresholds that they choose in bootstrap draws.

A score strictly above the threshold is called abnormal. Candidates lie midway between neighbouring scores, so all that
differ are tried: SIFT-DBT's grid of probabilities cannot balance scores that saturate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import logit

from dbtssl.config import did_you_mean
from dbtssl.errors import ConfigError
from dbtssl.evaluation.curve import BLOCK_BYTES, SLACK, cumulated, patient_counts
from dbtssl.evaluation.operating_points import all_thresholds, balanced_threshold

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dbtssl.evaluation.units import ScoreSet

RULES = {
    "balance": "least |NR - AR|, the lowest of equals",
    "youden": "largest NR + AR, the lowest of equals",
    "sensitivity-S": "the highest with AR of at least S, as sensitivity-0.9",
    "cost-C": "least cost where a missed abnormal costs as much as C recalled normals, as cost-20",
    "half": "a probability of 0.5, as SIFT-DBT's test.py:86",
    "grid": "least |NR - AR| on probabilities 0, 0.01, ... 1, as SIFT-DBT's volume_eval.py:84",
}
THINNED = 2048  # candidates of each kind in bootstrap draws, so that a rate is known to 0.05 %


@dataclass(frozen=True)
class ThresholdRule:
    """``number`` is the sensitivity or the cost, where the rule has one."""

    name: str
    number: float = 0.0


def threshold_rule(text: str) -> ThresholdRule:
    """The rule that ``text`` names, as in `RULES`; `ConfigError` for anything else."""
    name, _, number = text.partition("-")
    try:
        if name in ("balance", "youden", "half", "grid") and not number:
            return ThresholdRule(name)
        if name == "sensitivity" and 0 < float(number) <= 1:
            return ThresholdRule(name, float(number))
        if name == "cost" and 0 < float(number) < np.inf:
            return ThresholdRule(name, float(number))
    except ValueError:
        pass
    raise ConfigError(
        f"unknown threshold rule {text!r}.{did_you_mean(text, RULES)}",
        hint="; ".join(f"{rule}: {words}" for rule, words in RULES.items()),
    )


def choose_threshold(
    abnormal: NDArray[np.bool_], scores: NDArray[np.float64], rule: ThresholdRule
) -> float:
    """The threshold of ``rule`` on these units; both classes must be there, and scores be logits for half and grid."""
    if rule.name == "half":
        return 0.0
    if rule.name == "balance":
        return balanced_threshold(abnormal, scores)
    candidates = all_thresholds(scores) if rule.name != "grid" else _grid(scores)
    x, y = np.sort(scores[abnormal]), np.sort(scores[~abnormal])
    missed = np.searchsorted(x, candidates, side="right").astype(np.float64)
    right = np.searchsorted(y, candidates, side="right").astype(np.float64)
    return float(candidates[_best(missed[None], right[None], rule, len(x), len(y))[0]])


def threshold_draws(
    units: ScoreSet, weights: NDArray[np.float64], rule: ThresholdRule
) -> NDArray[np.float64]:
    """The threshold that ``rule`` chooses when patient p counts ``weights[d, p]`` times, ``(D,)``.

    Candidates are those of the units as they are; of more than 2 x 2,048 a part is tried, spread evenly over all and
    over those next to abnormal units. A draw without normals has nan.
    """
    if rule.name == "half":
        return np.zeros(len(weights))
    candidates = _grid(units.scores) if rule.name == "grid" else _thinned(units)
    codes = np.unique(units.patients, return_inverse=True)[1]
    bins = np.searchsorted(candidates, units.scores, side="left")
    size = weights.shape[1], len(candidates) + 1
    tables = [patient_counts(codes[k], bins[k], size) for k in (units.abnormal, ~units.abnormal)]
    out = np.full(len(weights), np.nan)
    block = max(1, BLOCK_BYTES // (8 * size[1]))
    for start in range(0, len(weights), block):
        part = slice(start, start + block)
        missed, right = (cumulated(weights[part], table) for table in tables)
        m, n = missed[:, -1:], right[:, -1:]
        chosen = _best(missed[:, :-1], right[:, :-1], rule, m, np.maximum(n, 1))
        out[part] = np.where(n[:, 0] > 0, candidates[chosen], np.nan)
    return out


def _best(
    missed: NDArray[np.float64],
    right: NDArray[np.float64],
    rule: ThresholdRule,
    m: NDArray[np.float64] | int,
    n: NDArray[np.float64] | int,
) -> NDArray[np.intp]:
    """Index of the best candidate, ``(D,)``, from abnormals and normals that are called normal, ``(D, C)``."""
    ar, nr = 1 - missed / m, right / n
    if rule.name == "sensitivity":
        reached: NDArray[np.intp] = np.count_nonzero(ar >= rule.number - SLACK, axis=1) - 1
        return reached
    worst = {
        "balance": np.abs(nr - ar),
        "grid": np.abs(nr - ar),
        "youden": -(ar + nr),
        "cost": rule.number * missed - right,
    }[rule.name]
    return np.asarray(np.argmin(np.round(worst, 12), axis=1))  # equal shares of other counts


def _grid(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The logits of 0, 0.01, ... 1; its ends call everything and nothing abnormal."""
    inner = logit(np.arange(1, 100) / 100)
    low = min(np.nextafter(scores.min(), -np.inf), inner[0] - 1)
    high = max(float(scores.max()), inner[-1] + 1)
    return np.concatenate([[low], inner, [high]])


def _thinned(units: ScoreSet) -> NDArray[np.float64]:
    candidates = all_thresholds(units.scores)
    if len(candidates) <= 2 * THINNED:
        return candidates
    above = np.searchsorted(candidates, np.unique(units.scores[units.abnormal]), side="left")
    spread = [
        np.linspace(0, len(candidates) - 1, THINNED).astype(np.intp),
        above[np.linspace(0, len(above) - 1, min(len(above), THINNED)).astype(np.intp)] - 1,
    ]
    return candidates[np.unique(np.concatenate(spread))]
