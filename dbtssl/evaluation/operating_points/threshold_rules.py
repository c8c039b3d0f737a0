"""Rules that choose a threshold, and the thresholds that they choose in bootstrap draws.

A score strictly above the threshold is called abnormal. Candidates lie midway between neighbouring scores, so all that
differ are tried: SIFT-DBT's grid of probabilities cannot balance scores that saturate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.special import logit

from dbtssl.config import did_you_mean
from dbtssl.errors import ConfigError
from dbtssl.evaluation.operating_points.points import all_thresholds
from dbtssl.evaluation.operating_points.roc import BLOCK_BYTES, SLACK, cumulated, patient_counts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dbtssl.evaluation.score_set import ScoreSet

RULES = {
    "balanced": "that brings NR and AR closest",
    "youden": "with the largest sum of NR and AR",
    "sensitivity": "that is the highest with AR of at least {}",
    "cost": "of least cost, where a missed abnormal costs as much as {} recalled normals",
    "one-half": "a probability of one half",
    "balanced-grid": "that brings NR and AR closest among the probabilities 0, 0.01, ... 1",
}
"""Sensitivity and cost are named with their number, as sensitivity-0.9 and cost-20. Of equals the lowest threshold is
taken. One-half and balanced-grid are those of SIFT-DBT's code, for slices (``test.py:86``) and volumes
(``volume_eval.py:84-113``)."""

WITH_NUMBER = {"sensitivity": "S", "cost": "C"}
OF_PROBABILITIES = ("one-half", "balanced-grid")
THINNED = 1024  # candidates of each kind in bootstrap draws, so that a rate is known to 0.1 %


@dataclass(frozen=True)
class ThresholdRule:
    """``number`` is the sensitivity or the cost, where the rule has one."""

    name: str
    number: float = 0.0


def threshold_rule(text: str) -> ThresholdRule:
    """The rule that ``text`` names, as in `RULES`; `ConfigError` for anything else."""
    if text in RULES and text not in WITH_NUMBER:
        return ThresholdRule(text)
    name, _, number = text.partition("-")
    try:
        if name == "sensitivity" and 0 < float(number) <= 1:
            return ThresholdRule(name, float(number))
        if name == "cost" and 0 < float(number) < np.inf:
            return ThresholdRule(name, float(number))
    except ValueError:
        pass
    known = [f"{rule}-{WITH_NUMBER[rule]}" if rule in WITH_NUMBER else rule for rule in RULES]
    raise ConfigError(
        f"unknown threshold rule {text!r}.{did_you_mean(text, known)}",
        hint=f"choose one of: {', '.join(known)}",
    )


def placed_rule(text: str) -> tuple[Literal["validation", "test"], ThresholdRule]:
    """The split that a threshold is chosen on, and the rule, of ``validation-balanced``, ``one-half`` and the like.

    `ConfigError` for anything else: only SIFT-DBT's own rule may look at the test split.
    """
    if text.startswith("validation-"):
        rule = threshold_rule(text.removeprefix("validation-"))
        if rule.name not in OF_PROBABILITIES:
            return "validation", rule
    elif text in ("one-half", "test-balanced-grid"):
        return "test", threshold_rule(text.removeprefix("test-"))
    raise ConfigError(
        f"unknown threshold {text!r}",
        hint="choose validation-balanced, validation-youden, validation-sensitivity-S, validation-cost-C, one-half or "
        "test-balanced-grid",
    )


def threshold_words(text: str) -> str:
    """``validation-balanced`` as "the threshold that brings NR and AR closest, chosen on the validation split"."""
    where, rule = placed_rule(text)
    words = RULES[rule.name].format(f"{rule.number:g}")
    if rule.name == "one-half":
        return words
    split = "the validation split" if where == "validation" else "THE TEST SET ITSELF"
    return f"the threshold {words}, chosen on {split}"


def choose_threshold(
    abnormal: NDArray[np.bool_], scores: NDArray[np.float64], rule: ThresholdRule
) -> float:
    """The threshold of ``rule`` on these units; both classes must be there, and logits for `OF_PROBABILITIES`."""
    if rule.name == "one-half":
        return 0.0
    candidates = all_thresholds(scores) if rule.name != "balanced-grid" else _grid(scores)
    x, y = np.sort(scores[abnormal]), np.sort(scores[~abnormal])
    missed = np.searchsorted(x, candidates, side="right").astype(np.float64)
    right = np.searchsorted(y, candidates, side="right").astype(np.float64)
    return float(candidates[_best(missed[None], right[None], rule, len(x), len(y))[0]])


def threshold_draws(
    units: ScoreSet, weights: NDArray[np.float64], rule: ThresholdRule
) -> NDArray[np.float64]:
    """The threshold that ``rule`` chooses when patient p counts ``weights[d, p]`` times, ``(D,)``.

    Candidates are those of the units as they are; of more than 2 x 1,024 a part is tried, spread evenly over all and
    over those next to abnormal units. A draw without normals has nan.
    """
    if rule.name == "one-half":
        return np.zeros(len(weights))
    candidates = _grid(units.scores) if rule.name == "balanced-grid" else _thinned(units)
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
    if rule.name == "cost":
        loss = rule.number * missed - right
    elif rule.name == "youden":
        loss = -(ar + nr)
    else:
        loss = np.abs(nr - ar)
    return np.asarray(np.argmin(np.round(loss, 12), axis=1))  # equal fractions of other counts


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
