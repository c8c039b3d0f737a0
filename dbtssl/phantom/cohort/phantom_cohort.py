"""Who has what: patients, studies, views, labels and boxes, all known before anything is rendered.

Every random number comes from (seed, patient, purpose), so a volume does not depend on which others
are rendered.

The label is a property of a breast. In a patient who is ill, the volumes of the breast with the
lesion are Benign, Cancer or Actionable in all her studies; those of the other breast are Normal.
BCS-DBT labels whole studies instead, and its biopsied studies hold only the views with a box, so
that the number of views gives the label away (AUC 0.97). Here how many studies and views there are,
and how everything is positioned and exposed, is drawn without looking at the label.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dbtssl.data.records import Box, Label
from dbtssl.phantom.cohort.population import (
    Purpose,
    Subject,
    draw_breast,
    draw_innocent,
    draw_positioning,
    draw_subject,
    draw_technique,
    stream,
)
from dbtssl.phantom.findings import lesions
from dbtssl.phantom.model.compression import Compression, compress, frames
from dbtssl.phantom.model.geometry import Grid

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dbtssl.phantom.model.phantom_config import PhantomConfig
    from dbtssl.phantom.model.subject import (
        Breast,
        Innocent,
        Lesion,
        Positioning,
        Projection,
        Technique,
    )

VIEWS: tuple[tuple[str, int, Projection], ...] = (
    ("lcc", 0, "cc"),
    ("lmlo", 0, "mlo"),
    ("rcc", 1, "cc"),
    ("rmlo", 1, "mlo"),
)
SHARES = {Label.ACTIONABLE: 0.050, Label.BENIGN: 0.020, Label.CANCER: 0.016}  # of BCS-DBT's studies
ROTATED = (
    0.05  # of breasts are stored upside down: 14 of 262 series that one user of BCS-DBT checked
)


@dataclass(frozen=True, slots=True)
class PlannedVolume:
    """A volume that can be rendered: its record, and everything that decides its pixels.

    ``rotated`` says that the file stores it turned by 180 degrees; boxes are in the oriented frame.
    """

    patient: str
    study: str
    view: str
    label: Label
    n_slices: int
    rows: int
    columns: int
    thickness: float  # mm, compressed
    boxes: tuple[Box, ...]
    breast: Breast
    lesion: Lesion | None
    positioning: Positioning
    technique: Technique
    rotated: bool
    innocent: Innocent | None = None  # what is no lesion; none in the plain anatomy

    @property
    def id(self) -> str:
        """The published key (PatientID, StudyUID, View) as one word."""
        return f"{self.patient}_{self.study}_{self.view}"

    def without_lesion(self) -> PlannedVolume:
        """The same exposure of the same breast, healthy."""
        return replace(self, label=Label.NORMAL, lesion=None, boxes=())


def plan(config: PhantomConfig) -> tuple[PlannedVolume, ...]:
    """List the cohort's volumes by patient, study and view, without rendering."""
    subjects = [draw_subject(config, i) for i in range(config.patients)]
    labels = deal(config, [subject.thickness for subject in subjects])
    volumes: list[PlannedVolume] = []
    study = 0
    for i, (subject, label) in enumerate(zip(subjects, labels, strict=True)):
        volumes.extend(_patient(config, i, subject, label, study + 1))
        study += 1 if subject.years is None else 2
    return tuple(volumes)


def deal(config: PhantomConfig, thickness: Sequence[float]) -> list[Label]:
    """Deal labels to patients by stratified randomisation over compressed thickness (mm).

    Each class is spread evenly over the patients in order of thickness, at random within its share.
    So ill and healthy share the law of thickness, and of all that goes with it, not only on average
    but in every cohort.
    """
    rng = stream(config, 0, Purpose.LABELS)
    n = len(thickness)
    if config.prevalence == "balanced":
        counts = {Label.CANCER: n // 4, Label.BENIGN: n // 2 - n // 4}
    else:
        counts, left = {}, n
        for label, share in SHARES.items():
            counts[label] = min(left, int(n * share + rng.random()))
            left -= counts[label]
    counts[Label.NORMAL] = n - sum(counts.values())
    cards = [(label, (j + rng.random()) / m) for label, m in counts.items() for j in range(m)]
    cards.sort(key=lambda card: card[1])
    labels = [Label.NORMAL] * n
    for patient, (label, _) in zip(np.argsort(thickness, kind="stable"), cards, strict=True):
        labels[patient] = label
    return labels


def grid_of(
    config: PhantomConfig, breast: Breast, positioning: Positioning
) -> tuple[Grid, Compression]:
    """The sampling grid and the compressed shape of a view."""
    spacing = config.slice_spacing
    n = frames(breast, positioning, spacing)
    shape = compress(breast, positioning, n * spacing)
    return Grid(config.rows, config.columns, n, config.pixel, spacing, shape.centre), shape


class _View(NamedTuple):
    volume: PlannedVolume
    side: int
    grid: Grid
    shape: Compression
    missing: bool


def _patient(
    config: PhantomConfig, i: int, subject: Subject, label: Label, first_study: int
) -> Iterator[PlannedVolume]:
    """The volumes of a patient, with a lesion that fits into every view of its breast."""
    views = list(_views(config, i, subject, first_study))
    lesion = None
    if label is not Label.NORMAL:
        shapes = [view.shape for view in views if view.side == subject.side]
        lesion = lesions.draw(
            label,
            config.contrasts,
            shapes,
            stream(config, i, Purpose.LESION),
            full=config.anatomy == "full",
        )
    for volume, side, grid, shape, missing in views:
        if missing:
            continue
        if lesion is None or side != subject.side:
            yield volume
            continue
        box = lesions.box(lesion, label, shape, grid, volume.positioning.left)
        boxes = () if label is Label.ACTIONABLE else (box,)
        yield replace(volume, label=label, lesion=lesion, boxes=boxes)


def _views(config: PhantomConfig, i: int, subject: Subject, first_study: int) -> Iterator[_View]:
    innocent = [draw_innocent(config, i, subject, side) for side in (0, 1)]
    for k, years in enumerate([0.0] if subject.years is None else [0.0, subject.years]):
        rng = stream(config, i, Purpose.STUDY, k)
        technique = draw_technique(config, rng)
        missing = VIEWS[rng.integers(4)][0] if rng.random() < config.missing_view else None
        rotated = rng.random(2) < ROTATED
        for name, side, projection in VIEWS:
            view_rng = stream(config, i, Purpose.VIEW, k, side, projection == "mlo")
            breast = draw_breast(config, i, subject, side, years)
            pose_rng = stream(config, i, Purpose.POSE, k, side, projection == "mlo")
            positioning = draw_positioning(config, view_rng, projection, side == 0, pose_rng)
            grid, shape = grid_of(config, breast, positioning)
            volume = PlannedVolume(
                patient=f"DBT-P{i + 1:05d}",
                study=f"DBT-S{first_study + k:05d}",
                view=name,
                label=Label.NORMAL,
                n_slices=grid.n_slices,
                rows=grid.rows,
                columns=grid.columns,
                thickness=shape.thickness,
                boxes=(),
                breast=breast,
                lesion=None,
                positioning=positioning,
                technique=replace(technique, seed=int(view_rng.integers(1 << 31))),
                rotated=bool(rotated[side]),
                innocent=innocent[side],
            )
            yield _View(volume, side, grid, shape, name == missing)
