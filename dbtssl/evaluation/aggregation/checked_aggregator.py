"""An aggregator is asked for scores: what it is given cannot be changed, and what it gives is looked at."""

from __future__ import annotations

import zlib
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dbtssl.config import did_you_mean
from dbtssl.interfaces.boundary import calling, described, refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from dbtssl.interfaces import Aggregator, Groups, Level

COMPONENT = "aggregator"
NEEDS = ("logits", "features")
LEARNS = ("fit", "state", "load")  # methods of an aggregator that learns
READ_ONLY = (
    "the arrays of groups are read-only: they are everybody's; work on a copy, such as np.sort(groups.values), not "
    "groups.values.sort()"
)
ONE_EACH = "return one score a group, in order: an array of shape (len(groups),)"


def broken_promise(aggregator: Any) -> tuple[str, str] | None:
    """What an aggregator, or its class, lacks, and the next step; None where it has what its kind needs."""
    if aggregator.needs not in NEEDS:
        near = did_you_mean(str(aggregator.needs), NEEDS)
        return (
            f"needs is {aggregator.needs!r}, expected {' or '.join(NEEDS)}.{near}",
            "set the class attribute needs to one of these",
        )
    has = [name for name in LEARNS if callable(getattr(aggregator, name, None))]
    if has and len(has) < len(LEARNS):
        lacks = [f"no {name}()" for name in LEARNS if name not in has]
        return (
            f"it has {' and '.join(f'{name}()' for name in has)} and {' and '.join(lacks)}, so that it would score "
            "untrained, or lose what it learnt",
            "one that learns has fit(train, val), state() and load(state), all three; one that does not has none",
        )
    return None


def scores_of(aggregator: Aggregator, groups: Groups, level: Level) -> NDArray[np.float64]:
    """One finite score for each group of ``level``; `PluginError` for anything else, and for a changed input."""
    name, kind = type(aggregator).__name__, of_level(level)
    given = f"{len(groups):,} groups of {len(groups.values):,} values"
    sealed = _sealed(groups)
    before = _checksum(sealed)
    with calling(kind, f"aggregator {name} with {given}"), _told_read_only(kind):
        found: Any = aggregator(sealed)
    if _checksum(sealed) != before:
        raise refused(kind, f"aggregator {name} changed the groups that it was given", READ_ONLY)
    scores = _array(found)
    if scores is None or scores.dtype.kind not in "fiu":
        what = described(found) if scores is None else f"{described(found)} of {scores.dtype}"
        raise refused(kind, f"aggregator {name} gave {what}, expected numbers", ONE_EACH)
    if scores.shape != (len(groups),):
        raise refused(
            kind,
            f"aggregator {name} gave shape {scores.shape}, expected one score a {level}: ({len(groups)},); it was "
            f"given {given}",
            ONE_EACH,
        )
    bad = int((~np.isfinite(scores)).sum())
    if bad:
        raise refused(
            kind,
            f"aggregator {name} gave scores of {level}s that are not finite: {bad:,} of {given}",
            "no group is empty; look for a logarithm of 0, a division by 0, or exp of a large logit",
        )
    return scores.astype(np.float64)


def learn(aggregator: Any, train: Groups, val: Groups, level: Level) -> None:
    """Fit an aggregator that learns, on groups that it cannot change."""
    kind = of_level(level)
    of_train, of_val = _sealed(train), _sealed(val)
    before = _checksum(of_train), _checksum(of_val)
    what = f"fit of {type(aggregator).__name__} on {len(train):,} and {len(val):,} groups"
    with calling(kind, what), _told_read_only(kind):
        aggregator.fit(of_train, of_val)
    if (_checksum(of_train), _checksum(of_val)) != before:
        raise refused(
            kind,
            f"fit of aggregator {type(aggregator).__name__} changed the groups that it was given",
            READ_ONLY,
        )


def of_level(level: Level) -> str:
    """How an error says that it is of the aggregator that gives scores of ``level``."""
    return f"{COMPONENT} {level}"


@contextmanager
def _told_read_only(kind: str) -> Iterator[None]:
    """numpy's error about a read-only array gets the hint that says what to do."""
    try:
        yield
    except ValueError as exc:
        if "read-only" not in str(exc):
            raise
        raise refused(kind, f"it changes the groups that it is given: {exc}", READ_ONLY) from exc


def _sealed(groups: Groups) -> Groups:
    """The same groups, which cannot be written to: copies of what is small, a view of the features."""
    arrays: dict[str, NDArray[Any]] = {}
    for name in ("values", "offsets", "labels", "features"):
        array = getattr(groups, name)
        if array is not None:
            arrays[name] = array.view() if name == "features" else array.copy()
            arrays[name].flags.writeable = False
    return replace(groups, **arrays)


def _checksum(groups: Groups) -> int:
    """Of all that an aggregator is given: a tensor that shares memory with a read-only array can write to it."""
    out = 0
    for array in (groups.values, groups.offsets, groups.features, groups.labels):
        if array is not None:
            out = zlib.crc32(np.ascontiguousarray(array).view(np.uint8).data, out)
    return out


def _array(found: Any) -> NDArray[Any] | None:
    try:
        return np.asarray(found)
    except (TypeError, ValueError, RuntimeError):
        return None
