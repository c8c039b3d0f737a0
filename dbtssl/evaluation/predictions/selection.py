"""Parts of a predictions table, and its slices relabelled."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa

from dbtssl.data.records import Label
from dbtssl.data.tables.identifiers import in_both
from dbtssl.errors import ConfigError, DataError
from dbtssl.interfaces import Groups

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from dbtssl.evaluation.predictions.prediction_table import Predictions


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


LEAST = 10  # units of each class in a cell


def strata(p: Predictions) -> dict[str, NDArray[np.bool_]]:
    """Name to the volumes that belong to it, ``(V,)``; what the file does not know is not there.

    A finding keeps all normal volumes and the abnormal ones of its kind: benign or cancer by the volume's label,
    distortion if one of its boxes is marked so, else mass. A projection or a density keeps both classes.
    """
    normal = p.labels < Label.BENIGN
    out = {
        "finding: benign": normal | (p.labels == Label.BENIGN),
        "finding: cancer": normal | (p.labels == Label.CANCER),
    }
    if any(p.boxes):
        boxed = np.array([bool(b) for b in p.boxes], dtype=np.bool_)
        distorted = np.array([any(b.distortion for b in own) for own in p.boxes], dtype=np.bool_)
        out["lesion: mass"] = normal | (boxed & ~distorted)
        out["lesion: distortion"] = normal | distorted
    if all(p.views):
        mlo = np.array([view[1:2] == "m" for view in p.views], dtype=np.bool_)
        out |= {"projection: CC": ~mlo, "projection: MLO": mlo}
    for density in sorted(set(p.density) - {""}):
        out[f"density: {density}"] = np.array([d == density for d in p.density], dtype=np.bool_)
    return out


def enough(abnormal: NDArray[np.bool_]) -> bool:
    """Whether a cell has `LEAST` units of each class."""
    return min(int(abnormal.sum()), int((~abnormal).sum())) >= LEAST


def first_patches(p: Predictions, patches: int) -> Groups:
    """The first ``patches`` logits of every slice, with their features; `DataError` where a slice has fewer."""
    if patches < 1:
        raise ConfigError(f"patches: got {patches}, expected 1 or more", hint="set predict.patches")
    sizes = np.diff(p.offsets)
    if (sizes < patches).any():
        i = int(np.argmax(sizes < patches))
        raise DataError(
            f"slice {p.z[i]} of volume {p.volumes[p.volume[i]]} has {sizes[i]} patches, {patches} are asked for",
            hint=f"predict again with predict.patches={patches}, or score with patches={sizes.min()}",
        )
    index = (p.offsets[:-1, None] + np.arange(patches)).ravel()
    offsets = np.arange(len(sizes) + 1, dtype=np.int64) * patches
    features = patch_features(p)
    return Groups(p.logits[index], offsets, None if features is None else features[index])


def patch_features(p: Predictions) -> NDArray[np.float32] | None:
    """The features of every patch, ``(N, D)``; None where they were not stored, or for slices only."""
    return p.features if p.features is not None and len(p.features) == len(p.logits) else None
