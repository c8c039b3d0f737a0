"""What tables hold, without any image: patients, studies, volumes, labels and boxes, by official split or by lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from dbtssl.data.records import Label
from dbtssl.data.splits.split_lists import read_lists
from dbtssl.data.tables.published_counts import OFFICIAL, SIFT_DBT, Counts
from dbtssl.data.tables.published_tables import KINDS, SPLITS, WHERE, read_files, table_files
from dbtssl.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from dbtssl.data.records import Box
    from dbtssl.data.tables.published_tables import Key

OFFICIAL_PART = {"train": "train", "val": "validation", "test": "test"}


class Row(NamedTuple):
    """What was found and what was published of a split; without Actionable volumes if they are ``dropped``."""

    split: str
    found: Counts
    published: Counts
    dropped: bool = False


@dataclass(frozen=True)
class Survey:
    """The tables of a folder by kind and official split, those that are missing, and what they hold.

    In splits with both tables, ``unlabelled`` volumes have a path and no label and ``pathless`` ones a label and no
    path. ``parts`` are of the lists, with and without Actionable volumes; ``unlisted`` volumes have a label and are in
    no list.
    """

    files: Mapping[tuple[str, str], Path]
    missing: tuple[tuple[str, str], ...]
    splits: tuple[Row, ...]
    unlabelled: int = 0
    pathless: int = 0
    lists: str = ""
    parts: tuple[Row, ...] = ()
    unlisted: int = 0


def survey(folder: Path, lists: str | Path | None = None) -> Survey:
    """Read what tables there are below ``folder``; count by official split, and by ``lists`` if given.

    Raises `DataError` for a folder without any table, and whatever `read_files` and `read_lists` refuse.
    """
    if not folder.is_dir():
        raise DataError(f"no such folder: {folder}", hint="check the path")
    files = table_files(folder)
    if not files:
        raise DataError(
            f"{folder}: no table of {', '.join(KINDS)}; "
            "expected files such as BCS-DBT-labels-train-v2.csv",
            hint=f"put the CSV files into the folder; {WHERE}",
        )
    rows: list[Row] = []
    labels: dict[Key, Label] = {}
    boxes: dict[Key, tuple[Box, ...]] = {}
    unlabelled = pathless = 0
    for split in SPLITS:
        here = {kind: [files[kind, split]] if (kind, split) in files else [] for kind in KINDS}
        if not any(here.values()):
            continue
        tables = read_files(here)
        found: Counts = {}
        if here["labels"] or here["file-paths"]:
            found |= _sizes(tables.labels if here["labels"] else tables.paths)
        if here["labels"]:
            found |= _by_label(list(tables.labels.values()))
        if here["boxes"]:
            found |= _boxes(list(tables.boxes.values()))
        rows.append(Row(split, found, OFFICIAL[split]))
        if here["labels"] and here["file-paths"]:
            unlabelled += len(tables.paths.keys() - tables.labels.keys())
            pathless += len(tables.labels.keys() - tables.paths.keys())
        labels |= tables.labels
        boxes |= tables.boxes
    missing = tuple((k, split) for split in SPLITS for k in KINDS if (k, split) not in files)
    plain = Survey(files, missing, tuple(rows), unlabelled, pathless)
    return plain if lists is None else _with_lists(plain, lists, labels, boxes)


def _with_lists(
    plain: Survey,
    where: str | Path,
    labels: Mapping[Key, Label],
    boxes: Mapping[Key, tuple[Box, ...]],
) -> Survey:
    lists = read_lists(where)
    rows: list[Row] = []
    for part, official in OFFICIAL_PART.items():
        members = {
            key: label
            for key, row in lists.listed.items()
            if row.part == part and (label := labels.get(key, row.label)) is not None
        }
        kept = {key: label for key, label in members.items() if label != Label.ACTIONABLE}
        told = (OFFICIAL[official], Counts()) if lists.name == "official" else SIFT_DBT[part]
        for dropped in (False, True):
            volumes = kept if dropped else members
            found = _sizes(volumes) | _by_label(list(volumes.values()))
            if boxes:
                found |= _boxes([boxes[key] for key in volumes if key in boxes])
            rows.append(Row(part, found, told[dropped], dropped))
    unlisted = len(labels.keys() - lists.listed.keys())
    return Survey(
        plain.files,
        plain.missing,
        plain.splits,
        plain.unlabelled,
        plain.pathless,
        lists.name,
        tuple(rows),
        unlisted,
    )


def _sizes(keys: Collection[Key]) -> Counts:
    return {
        "patients": len({key.patient for key in keys}),
        "studies": len({(key.patient, key.study) for key in keys}),
        "volumes": len(keys),
    }


def _by_label(labels: Sequence[Label]) -> Counts:
    counts = {label.name.lower(): labels.count(label) for label in Label}
    return counts | {"abnormal": sum(label.abnormal for label in labels)}


def _boxes(found: Sequence[tuple[Box, ...]]) -> Counts:
    boxes = [box for of_volume in found for box in of_volume]
    return {
        "boxes": len(boxes),
        "box_volumes": len(found),
        "benign_boxes": sum(box.label == Label.BENIGN for box in boxes),
        "cancer_boxes": sum(box.label == Label.CANCER for box in boxes),
        "distortions": sum(box.distortion for box in boxes),
    }
