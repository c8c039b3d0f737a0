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
    needs: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Raise AssertionError unless each field of ``config``, changed alone, changes ``trace``.

    ``trace`` gives all that a setting can show (losses, weights, draws), comparable by ``==`` and equal when it is
    called again. ``start`` are the values that the fields begin with, where they are not the defaults; ``other`` has a
    second value for every field, and a new field without one fails. A field that is read under some values of others
    alone has these in ``needs``. A field of `infra` must change nothing instead.
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
        around = {**(start or {}), **(needs or {}).get(name, {})}
        base, changed = config(**around), config(**(around | {name: other[name]}))
        if changed == base:
            faults.append(f"{name}: the second value is the first, {other[name]!r}")
            continue
        same = trace(changed) == (expected if base == first else trace(base))
        if name in deciding and same:
            faults.append(f"{name}: {other[name]!r} for {before[name]!r} changes nothing")
        elif name not in deciding and not same:
            faults.append(f"{name}: marked as infra, and changes the result")
    if faults:
        raise AssertionError(f"{config.__qualname__}: " + "; ".join(sorted(faults)))
