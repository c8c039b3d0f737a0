"""What a benchmark needs beside the tables of BCS-DBT: lesions, harmless things, density.

One JSON file of three tables, column names and rows. No source of data reads it, and it bears no
name that one looks for (they read CSV), so nothing of it becomes a label by accident. The benchmark's
task of breast density reads the densities, to score frozen features by.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from dbtssl.data.records import Box, Label
from dbtssl.errors import DataError
from dbtssl.phantom.cohort.phantom_cohort import PlannedVolume, grid_of
from dbtssl.phantom.findings import lesions
from dbtssl.phantom.findings.placing import centre
from dbtssl.phantom.model.subject import HALF_BOX

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from dbtssl.phantom.model.phantom_config import PhantomConfig

FILE = "phantom-truth.json"
WHAT = (
    "what the phantom put where; boxes in pixels of the oriented frame, chest wall to the left in a "
    "left breast. For scoring and for other tasks, not for training a detector"
)
BREASTS = ("patient", "study", "side", "density")
LESIONS = (
    "patient", "study", "view", "label", "kind", "side_mm", "slice", "relative_depth", "contrast",
)  # fmt: skip
INNOCENT = ("patient", "study", "view", "kind", "slice", "x", "y", "width", "height")


def truth(config: PhantomConfig, volumes: Sequence[PlannedVolume]) -> str:
    """The text of the file for ``volumes``."""
    breasts = {(v.patient, v.study, v.view[0]): round(v.breast.density, 4) for v in volumes}
    innocent = [
        (v.patient, v.study, v.view, kind, b.z, int(b.x), int(b.y), int(b.width), int(b.height))
        for v in volumes
        for kind, b in outlined(config, v)
    ]
    tables: dict[str, tuple[tuple[str, ...], list[Any]]] = {
        "breasts": (BREASTS, [(*key, density) for key, density in breasts.items()]),
        "lesions": (LESIONS, [_lesion(config, v) for v in volumes if v.lesion is not None]),
        "innocent": (INNOCENT, innocent),
    }
    parts = [f'"what": {json.dumps(WHAT)}']
    for name, (columns, rows) in tables.items():
        lines = ",\n".join(json.dumps(row) for row in (columns, *rows))
        parts.append(f'"{name}": [\n{lines}\n]')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def read_densities(path: Path) -> dict[tuple[str, str, str], float]:
    """Fibroglandular share of each breast by patient, study and side; `DataError` for anything but such a file."""
    try:
        columns, *rows = json.loads(path.read_text(encoding="utf-8"))["breasts"]
        if tuple(columns) != BREASTS:
            raise ValueError(columns)
        return {(str(p), str(s), str(side)): float(density) for p, s, side, density in rows}
    except (OSError, ValueError, TypeError, KeyError):
        raise DataError(
            f"{path} cannot be read as what the phantom put where",
            hint="remove the phantom's folder, or make another with dbtssl phantom; it is made again",
        ) from None


def outlined(config: PhantomConfig, volume: PlannedVolume) -> Iterator[tuple[str, Box]]:
    """Kind and box of everything in a volume that is no lesion, vessels apart; some lie outside."""
    if volume.innocent is None:
        return
    grid, shape = grid_of(config, volume.breast, volume.positioning)
    for thing in volume.innocent.inclusions:
        at = centre(thing, shape)
        if at is None:
            continue
        box = lesions.box_at(
            at, thing.radius, Label.NORMAL, grid, left=volume.positioning.left, distortion=False
        )
        inside = box.x + box.width > 0 and box.y + box.height > 0
        if inside and box.x < grid.columns and box.y < grid.rows:
            yield thing.kind, box


def _lesion(config: PhantomConfig, volume: PlannedVolume) -> tuple[Any, ...]:
    """A row of the lesions, those without a published box (Actionable) too."""
    lesion = volume.lesion
    assert lesion is not None
    grid, shape = grid_of(config, volume.breast, volume.positioning)
    box = lesions.box(lesion, volume.label, shape, grid, volume.positioning.left)
    side = 2 * HALF_BOX[lesion.kind] * lesion.radius
    depth = round(box.z / volume.n_slices, 4)
    return (
        volume.patient, volume.study, volume.view, volume.label.name.lower(), lesion.kind,
        round(side, 2), box.z, depth, round(lesion.contrast, 4),
    )  # fmt: skip
