"""Which rule chooses the threshold of NPV, NR and AR, and on which units, as the protocol says; or why none does."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dbtssl.evaluation.operating_points.threshold_rules import ThresholdRule, placed_rule

if TYPE_CHECKING:
    from dbtssl.evaluation.protocol import Protocol
    from dbtssl.evaluation.score_set import ScoreSet
    from dbtssl.evaluation.values import Kind


class Choice(NamedTuple):
    """``rule`` on ``units``; if they are None, ``reason`` says why."""

    rule: ThresholdRule | None
    units: ScoreSet | None
    reason: str = ""


def choice_of_threshold(
    test: ScoreSet,
    val: ScoreSet | None,
    protocol: Protocol,
    kind: Kind = "method",
    *,
    logits: bool = True,
) -> Choice:
    """The rule for the scores of ``test``; under a rule of validation, ``test`` itself decides nothing.

    A rule that takes a probability needs scores that are logits.
    """
    name = protocol.slice_threshold if test.level == "slice" else protocol.threshold
    where, rule = placed_rule(name)
    if where == "validation":
        if reason := one_class(val, "validation"):
            return Choice(None, None, f"no threshold: {reason}")
        return Choice(rule, val)
    if kind != "method" or not logits:
        reason = f"no threshold: protocol {protocol.name} takes a probability"
        return Choice(None, None, reason)
    return Choice(rule, test)


def one_class(units: ScoreSet | None, split: str) -> str:
    """Why a set of units cannot be scored; empty if both classes are present."""
    if units is None:
        return f"no {split} predictions were given"
    if units.abnormal.all():
        return f"the {split} split has no normal {units.level}"
    if not units.abnormal.any():
        return f"the {split} split has no abnormal {units.level}"
    return ""
