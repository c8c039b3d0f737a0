"""What a row was made under beside its method: fine-tuning, encoder, first weights and images of pretraining.

Two rows that differ in one of these differ in more than the method, so their difference is not the method's. It
carries a mark (`unlike_text`), has no test, and the notes below the table name what else differs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from dbtssl.config import Config, canonical_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Kind = Literal["f", "e", "w", "i"]
KINDS: dict[Kind, str] = {
    "f": "fine-tuning",
    "e": "the encoder",
    "w": "the weights that pretraining begins with",
    "i": "the images seen in pretraining",
}
MARK = "≠"
CLOSE = 0.01
"""Images seen that are less than this fraction apart count as equal: the last partial batch of an epoch is dropped."""

Unlike = dict[Kind, tuple[str, ...]]


class Conditions(Config):
    """Of one row. Values are those of the specification, every default filled in."""

    finetuning: dict[str, Any] = Field(
        description="finetuner and every key of its Config, by their names in the specification"
    )
    chosen: tuple[str, ...] = Field(
        default=(), description="keys of finetuning that were set, not left at their default"
    )
    encoder: dict[str, Any] = Field(description="backbone.name and backbone.args.*")
    weights: str = Field(default="", description="weights that a row's own pretraining begins with")
    images: int | None = Field(default=None, description="images seen in pretraining; none without")


def differences(row: Conditions, other: Conditions) -> Unlike:
    """What ``row`` has and ``other`` has not, in words, by kind; empty where they differ in the method alone."""
    found: dict[Kind, tuple[str, ...]] = {
        "f": tuple(_keys(row, other)),
        "e": tuple(_changes(row.encoder, other.encoder)),
    }
    if row.images is not None and other.images is not None:
        if row.weights != other.weights:
            found["w"] = (f"weights {row.weights or 'random'} ({other.weights or 'random'})",)
        if _apart(row.images, other.images):
            found["i"] = (f"{row.images:,} images ({other.images:,})",)
    return {kind: words for kind, words in found.items() if words}


def unlike_text(unlike: Mapping[Kind, Sequence[str]]) -> str:
    """The mark beside a difference, such as ``≠fe``; nothing where the rows differ in the method alone."""
    return f"{MARK}{''.join(kind for kind in KINDS if kind in unlike)}" if unlike else ""


def unlike_words(unlike: Mapping[Kind, Sequence[str]]) -> str:
    """The same in words: ``finetune.lr 0.1 (0.05), backbone.name resnet18 (cnn7)``."""
    return ", ".join(words for kind in KINDS for words in unlike.get(kind, ()))


def unlike_notes(
    conditions: Mapping[str, Conditions], baseline: str, *, marked: bool
) -> Iterator[str]:
    """What stands below a table of rows that were not made alike; ``marked`` where its differences carry the mark."""
    reference = baseline or next(iter(conditions), "")
    if reference not in conditions:
        return
    found = {
        name: differences(row, conditions[reference])
        for name, row in conditions.items()
        if name != reference
    }
    yield from difference_notes(found, reference, marked=marked)
    seen = {name: row.images for name, row in conditions.items() if row.images is not None}
    if seen and _apart(min(seen.values()), max(seen.values())):
        counts: dict[int, list[str]] = {}
        for name, images in seen.items():
            counts.setdefault(images, []).append(name)
        said = "; ".join(f"{images:,} {', '.join(counts[images])}" for images in sorted(counts))
        yield f"Images seen in pretraining differ, so that these rows differ in more than the method: {said}."


def difference_notes(found: Mapping[str, Unlike], reference: str, *, marked: bool) -> Iterator[str]:
    """What the mark means, and a line for each row that has one; ``found`` is by name of the row."""
    unlike = {name: what for name, what in found.items() if what}
    if not unlike:
        return
    kinds = [kind for kind in KINDS if any(kind in what for what in unlike.values())]
    said = ", ".join(f"{kind}: {KINDS[kind]}" for kind in kinds)
    yield (
        f"{MARK} {'beside a difference ' if marked else ''}says that the row differs from {reference} in more than the "
        f"method ({said}). Such a difference is not of the method alone: it is not tested and has no star. Bold and † "
        "are of the values as they are."
    )
    for name, what in unlike.items():
        yield f"{name} {unlike_text(what)}: {unlike_words(what)}; in brackets {reference}."


def unlike_rows(conditions: Mapping[str, Conditions]) -> list[str]:
    """A line for each row that differs in more than the method from the first, or from the first that is pretrained."""
    out: dict[str, str] = {}
    first: dict[bool, tuple[str, Conditions]] = {}
    for name, row in conditions.items():
        for pretrained in (True, False):
            if pretrained and row.images is None:
                continue
            reference, other = first.setdefault(pretrained, (name, row))
            if what := differences(row, other):
                out.setdefault(name, f"{name}: {unlike_words(what)} (in brackets: {reference})")
    return list(out.values())


def _keys(row: Conditions, other: Conditions) -> Iterator[str]:
    """Of different fine-tuners, a key that only one has counts where it was set."""
    ours, theirs = row.finetuning, other.finetuning
    for key in dict.fromkeys((*ours, *theirs)):
        if (key in ours or key in other.chosen) and (key in theirs or key in row.chosen):
            yield from _changes({key: ours.get(key)}, {key: theirs.get(key)})


def _changes(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[str]:
    for key in dict.fromkeys((*ours, *theirs)):
        mine, its = ours.get(key), theirs.get(key)
        if canonical_json(mine) != canonical_json(its):
            yield f"{key} {shown(mine)} ({shown(its)})"


def _apart(one: int, other: int) -> bool:
    return abs(one - other) > CLOSE * max(one, other)


def shown(value: Any) -> str:
    """A value of a specification in words."""
    if value is None:
        return "none"
    return value if isinstance(value, str) else canonical_json(value)
