"""Does every field of a Config change something?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dbtssl.config import result_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dbtssl.config import Config


def check_fields(
    config: type[Config],
    trace: Callable[[Config], Any],
    other: Mapping[str, Any],
    start: Mapping[str, Any] | None = None,
) -> None:
    """Raise AssertionError unless each field of ``config``, changed alone, changes ``trace``.

    ``trace`` gives all that a setting can show (losses, weights, draws), comparable by ``==`` and equal when it is
    called again. ``start`` are the values that the fields begin with, where they are not the defaults; ``other`` has a
    second value for every field, and a new field without one fails. A field of `infra` must change nothing instead.
    """
    first = config(**(start or {}))
    before = first.model_dump()
    faults = [f"{name}: no second value" for name in before.keys() - other.keys()]
    faults += [f"{name}: no such field" for name in other.keys() - before.keys()]
    expected = trace(first)
    if trace(first) != expected:
        faults.append("a trace does not repeat, so that nothing can be compared")
    deciding = result_fields(first)
    for name in (before.keys() & other.keys()) if not faults else ():
        changed = config(**(before | {name: other[name]}))
        if changed == first:
            faults.append(f"{name}: the second value is the first, {other[name]!r}")
        elif name in deciding and trace(changed) == expected:
            faults.append(f"{name}: {other[name]!r} for {before[name]!r} changes nothing")
        elif name not in deciding and trace(changed) != expected:
            faults.append(f"{name}: marked as infra, and changes the result")
    if faults:
        raise AssertionError(f"{config.__qualname__}: " + "; ".join(sorted(faults)))
