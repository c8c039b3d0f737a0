"""Patient-wise split into training, validation and test: by seed and each patient's worst label, or from lists."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from dbtssl.config import digest
from dbtssl.data.records import Cohort, Label
from dbtssl.data.tables.identifiers import refuse_two_spellings
from dbtssl.data.tables.published_tables import Key
from dbtssl.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dbtssl.data.splits.split_lists import SplitLists

RATIOS = (0.7, 0.1, 0.2)  # SIFT-DBT, section 3.1: 7:1:2
NAMES = ("train", "val", "test")
SHOWN = 3  # volumes that a note names

Actionable = Literal["drop", "normal", "abnormal"]


@dataclass(frozen=True)
class Split:
    """Positions of the cohort's volumes by split, ascending; no patient is in two of them.

    ``digest`` is a hash of the sorted ids by split. ``abnormal`` and ``normal`` count patients: abnormal is who has an
    abnormal volume. ``notes`` say what a list and the cohort have that the other has not.
    """

    train: tuple[int, ...]
    val: tuple[int, ...]
    test: tuple[int, ...]
    digest: str
    abnormal: tuple[int, int, int]
    normal: tuple[int, int, int]
    notes: tuple[str, ...] = ()

    def check(self) -> None:
        """Refuse a split without an abnormal patient in each part: nothing could be learned, chosen or scored.

        A part without a normal patient passes: most slices of an abnormal volume are normal.
        """
        for name, count in zip(NAMES, self.abnormal, strict=True):
            if not count:
                raise DataError(
                    f"no abnormal patient in the {name} split: {sum(self.abnormal)} abnormal patients in all",
                    hint="use a cohort with at least 3 abnormal (benign or cancer) patients, or other split ratios",
                )


def split_patients(
    cohort: Cohort,
    ratios: Sequence[float] = RATIOS,
    seed: int = 0,
    actionable: Actionable = "drop",
) -> Split:
    """Split ``cohort`` by patient into train, val and test by ``ratios``, the same for any order of its volumes.

    Strata are the worst label of each patient. The shares of abnormal and of other patients are rounded by largest
    remainder, with at least one patient in every part that can have one, and then shared out to their strata, so that
    small strata make up for each other. Who comes first is decided by a hash of ``seed`` and patient.

    ``actionable`` (recalled, not biopsied) volumes are dropped by default, as in SIFT-DBT; or they count as normal or
    as abnormal.
    """
    if len(ratios) != len(NAMES) or min(ratios) < 0 or abs(sum(ratios) - 1) > 1e-6:
        raise ConfigError(
            f"split ratios: got {', '.join(f'{r:g}' for r in ratios)}, expected 3 shares that add up to 1",
            hint="for example 0.7, 0.1, 0.2",
        )
    refuse_two_spellings(dict.fromkeys(v.patient for v in cohort), "patients", "the data set")
    keep = _kept(cohort, actionable)
    worst = _worst(cohort, keep)
    abnormal_from = _abnormal_from(actionable)
    part: dict[str, int] = {}
    for group in (
        {p: label for p, label in worst.items() if label >= abnormal_from},
        {p: label for p, label in worst.items() if label < abnormal_from},
    ):
        part |= _assign(group, _quota(len(group), ratios), seed)
    return _split(cohort, {i: part[cohort[i].patient] for i in keep}, actionable)


def split_from_lists(cohort: Cohort, lists: SplitLists, actionable: Actionable = "drop") -> Split:
    """Split ``cohort`` as ``lists`` say; volumes in no list are left out, and counted in the notes.

    ``actionable`` is as in `split_patients`. Raises `DataError` where no volume of the cohort is listed.
    """
    keys = [Key(v.patient, v.study, v.view) for v in cohort]
    known = set(keys)
    unlisted = [i for i, key in enumerate(keys) if key not in lists.listed]
    if len(unlisted) == len(keys):
        raise DataError(
            f"none of the {len(keys):,} volumes is in the lists of the split ({lists.name}, "
            f"{len(lists.listed):,} volumes); the cohort has {cohort[0].id if keys else 'no volume'}",
            hint="lists go by PatientID, StudyUID and View of the source; pseudonyms need the key they were made with",
        )
    absent = [key for key in lists.listed if key not in known]
    other = [
        i
        for i, key in enumerate(keys)
        if (row := lists.listed.get(key)) and row.label not in (None, cohort[i].label)
    ]
    notes = []
    if unlisted:
        shown = ", ".join(cohort[i].id for i in unlisted[:SHOWN])
        notes.append(f"{len(unlisted):,} volumes are in no list and left out: {shown}")
    if absent:
        shown = ", ".join("/".join(key) for key in absent[:SHOWN])
        notes.append(f"{len(absent):,} listed volumes are not in the data: {shown}")
    if other:
        shown = ", ".join(cohort[i].id for i in other[:SHOWN])
        notes.append(
            f"{len(other):,} volumes have another label in the lists, which is not used: {shown}"
        )
    part = {
        i: NAMES.index(lists.listed[keys[i]].part)
        for i in _kept(cohort, actionable)
        if keys[i] in lists.listed
    }
    return _split(cohort, part, actionable, tuple(notes))


def _kept(cohort: Cohort, actionable: Actionable) -> list[int]:
    return [i for i, v in enumerate(cohort) if actionable != "drop" or v.label != Label.ACTIONABLE]


def _abnormal_from(actionable: Actionable) -> Label:
    return Label.ACTIONABLE if actionable == "abnormal" else Label.BENIGN


def _worst(cohort: Cohort, keep: Iterable[int]) -> dict[str, Label]:
    """The worst label of each patient among the volumes ``keep``."""
    worst: dict[str, Label] = {}
    for i in keep:
        volume = cohort[i]
        worst[volume.patient] = max(volume.label, worst.get(volume.patient, Label.NORMAL))
    return worst


def abnormal_patients(
    cohort: Cohort, positions: Iterable[int], actionable: Actionable = "drop"
) -> set[str]:
    """The patients with an abnormal volume among ``positions``; ``actionable`` is as in `split_patients`."""
    worst = _worst(cohort, positions)
    return {patient for patient, label in worst.items() if label >= _abnormal_from(actionable)}


def _split(
    cohort: Cohort, part: Mapping[int, int], actionable: Actionable, notes: tuple[str, ...] = ()
) -> Split:
    """The split that puts the volume at position ``i`` into part ``part[i]``, with its hash and counts."""
    places = [tuple(i for i in sorted(part) if part[i] == k) for k in range(len(NAMES))]
    ids = {
        name: sorted(cohort[i].id for i in positions)
        for name, positions in zip(NAMES, places, strict=True)
    }
    abnormal, normal = [], []
    for positions in places:
        worst = _worst(cohort, positions).values()
        abnormal.append(sum(label >= _abnormal_from(actionable) for label in worst))
        normal.append(len(worst) - abnormal[-1])
    train, val, test = places
    return Split(
        train,
        val,
        test,
        digest(ids),
        (abnormal[0], abnormal[1], abnormal[2]),
        (normal[0], normal[1], normal[2]),
        notes,
    )


def _assign(group: dict[str, Label], left: list[int], seed: int) -> dict[str, int]:
    """Give each patient of ``group`` a part; ``left[k]`` patients go to part ``k``, each stratum near its share."""
    strata: dict[Label, list[str]] = defaultdict(list)
    for patient, label in group.items():
        strata[label].append(patient)
    part: dict[str, int] = {}
    for label in sorted(strata, reverse=True):
        patients = sorted(
            strata[label], key=lambda p: hashlib.sha256(f"{seed}/{p}".encode()).digest()
        )
        shares = _largest_remainder(len(patients), left)
        left = [have - take for have, take in zip(left, shares, strict=True)]
        drawn = iter(patients)
        for k, take in enumerate(shares):
            part |= {next(drawn): k for _ in range(take)}
    return part


def _quota(n: int, ratios: Sequence[float]) -> list[int]:
    """Patients for each part: largest remainder, but one each first, to the largest ratios, where there are few."""
    wanted = sorted((k for k, r in enumerate(ratios) if r > 0), key=lambda k: -ratios[k])
    if n <= len(wanted):
        return [int(k in wanted[:n]) for k in range(len(ratios))]
    out = _largest_remainder(n, ratios)
    for k in wanted:
        if not out[k]:
            out[out.index(max(out))] -= 1
            out[k] = 1
    return out


def _largest_remainder(n: int, weights: Sequence[float]) -> list[int]:
    """Share ``n`` out by ``weights`` (Hamilton's method); ties go to the earlier part."""
    total = sum(weights)
    if not n:
        return [0] * len(weights)
    ideal = [round(n * w / total, 9) for w in weights]
    out = [int(x) for x in ideal]
    by_remainder = sorted(range(len(weights)), key=lambda k: (out[k] - ideal[k], k))
    for k in by_remainder[: n - sum(out)]:
        out[k] += 1
    return out
