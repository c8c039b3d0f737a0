"""Parts of a predictions table, and its slices labelled anew."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa

from dbtssl.data.identifiers import in_both
from dbtssl.data.records import Label
from dbtssl.errors import DataError
from dbtssl.evaluation.units import first_patches

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from dbtssl.evaluation.predictions import Predictions


class WithIds(Protocol):
    """What has patients and volumes, by their ids."""

    @property
    def patients(self) -> tuple[str, ...]:
        """One id a volume."""

    @property
    def volumes(self) -> tuple[str, ...]:
        """One id a volume."""


def refuse_shared(first: WithIds, second: WithIds, where: str) -> None:
    """`DataError` where a patient or a volume is in both; ``where`` names the two, as in "the validation and the test
    split".

    Ids are compared as text and as numbers: a spreadsheet makes 12 of 0012.
    """
    if both := in_both(first.patients, second.patients):
        raise DataError(
            f"{len(both)} patients are in {where}: {', '.join(both[:5])}",
            hint="split by patient, and predict again; if they are others, give them ids that differ in more than "
            "zeros and capitals",
        )
    if both := in_both(first.volumes, second.volumes):
        raise DataError(
            f"{len(both)} volumes are in {where}, under other patients: {', '.join(both[:5])}",
            hint="a volume has one patient, and one id in all files: split by patient, and predict again; if they are "
            "others, number them on from one file to the next",
        )


def unboxed(p: Predictions) -> bool:
    """Whether an abnormal volume has no box, so that a lesion window says nothing of its slices."""
    return any(not b and label >= Label.BENIGN for b, label in zip(p.boxes, p.labels, strict=True))


def with_lesion_window(p: Predictions, before: int, after: int) -> Predictions:
    """The same with the slices labelled from the boxes; as the file has them where an abnormal volume has no box."""
    if unboxed(p):
        return p
    abnormal = np.zeros(len(p.z), dtype=np.bool_)
    offsets = p.volume_offsets
    for v, boxes in enumerate(p.boxes):
        here = slice(offsets[v], offsets[v + 1])
        for box in boxes:
            abnormal[here] |= (p.z[here] >= box.z - before) & (p.z[here] <= box.z + after)
    return replace(p, abnormal=abnormal)


def with_first_patches(p: Predictions, patches: int) -> Predictions:
    """The same with the first ``patches`` of every slice; as `first_patches` where a slice has fewer."""
    groups = first_patches(p, patches)
    index = (p.offsets[:-1, None] + np.arange(patches)).ravel()
    return replace(
        p,
        logits=groups.values,
        offsets=groups.offsets,
        places=None if p.places is None else p.places[index],
        features=p.features if groups.features is None else groups.features,
    )


def with_labels(table: pa.Table, labels: Mapping[str, str], where: str) -> pa.Table:
    """A table of predictions with other labels of its volumes, by their ids, as words.

    `DataError` for a volume without one, and for the word abnormal: slices need to know benign from cancer.
    """
    if "volume" not in table.column_names:
        return table  # refused where columns are checked
    codes = {label.name.lower(): int(label) for label in Label}
    volumes = [str(v) for v in table["volume"].to_pylist()]
    for volume in dict.fromkeys(volumes):
        if labels.get(volume) not in codes:
            raise DataError(
                f"{where}: volume {volume} has the label {labels.get(volume, 'none')!r} in the file of --labels",
                hint=f"expected {', '.join(codes)} for every volume",
            )
    column = pa.array([codes[labels[v]] for v in volumes], type=pa.int8())
    if "label" in table.column_names:
        return table.set_column(table.column_names.index("label"), "label", column)
    return table.append_column("label", column)


def without_actionable(p: Predictions) -> Predictions:
    """The same without volumes labelled Actionable."""
    return only(p, p.labels != Label.ACTIONABLE)


def only(p: Predictions, keep: NDArray[np.bool_]) -> Predictions:
    """The same with the volumes of ``keep``, ``(V,)``, alone."""
    if keep.all():
        return p
    slices = keep[p.volume]
    sizes = np.diff(p.offsets)
    patches = np.repeat(slices, sizes)

    def kept(values: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(v for v, k in zip(values, keep, strict=True) if k)

    features = p.features
    if features is not None:
        features = features[patches if len(features) == len(p.logits) else slices]
    return replace(
        p,
        volumes=kept(p.volumes),
        patients=kept(p.patients),
        studies=kept(p.studies),
        views=kept(p.views),
        density=kept(p.density),
        labels=p.labels[keep],
        n_slices=p.n_slices[keep],
        shape=p.shape[keep],
        boxes=kept(p.boxes),
        volume=(np.cumsum(keep) - 1)[p.volume[slices]],
        z=p.z[slices],
        abnormal=p.abnormal[slices],
        logits=p.logits[patches],
        offsets=np.r_[0, np.cumsum(sizes[slices])].astype(np.int64),
        places=None if p.places is None else p.places[patches],
        features=features,
    )
