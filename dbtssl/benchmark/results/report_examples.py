"""Where a method looked, for its report: scores along z, and slices with the logits of their patches."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dbtssl.data.records import Label, Rect, SliceRef
from dbtssl.report.html.content import Example, Examples, Profile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dbtssl.benchmark.results.finished_run import Run
    from dbtssl.data.prepared.prepared_dataset import PreparedDataset
    from dbtssl.data.records import Volume
    from dbtssl.evaluation.predictions.prediction_table import Predictions
    from dbtssl.report.html.content import MethodRuns

STRIPS = {"missed": 8, "found": 8, "false alarm": 8}
EXAMPLES = {"missed": 3, "found": 2, "false alarm": 2}
MARGIN = 0.04  # of the tissue's longer side
LONGEST = 300  # pixels of an example's longer side


class _Found(NamedTuple):
    """A volume of the test set: its position, its score, and what became of it."""

    position: int
    score: float
    outcome: str


def looked(run: Run, dataset: PreparedDataset | None, method: MethodRuns) -> Examples:
    """Profiles and examples of the first seed of ``method``: what it missed, what it found, false alarms."""
    seed = method.seeds[0]
    row = next(r for r in run.record.rows if (r.method, r.seed) == (method.name, seed.seed))
    units = run.units(row)
    predictions, slices = units.predictions, units.sets[0]
    volumes = next((s for s in units.sets if s.level == "volume"), None)
    if volumes is None:
        missing = f"No volume of {method.name} has a score, so none is shown."
        return Examples(method.name, seed.seed, missing=missing)
    threshold = seed.rows["volume"].threshold if "volume" in seed.rows else None
    order = _order(predictions, volumes.scores, threshold)
    profiles = tuple(_profile(predictions, slices.scores, found) for found in _first(order, STRIPS))
    if dataset is None:
        missing = "The prepared data set is not at hand any more, so no slice is shown."
        return Examples(method.name, seed.seed, profiles, missing=missing)
    table = run.folder_of(row, "predict") / "test.parquet"
    examples = tuple(
        _example(dataset, predictions, slices.scores, str(table), found)
        for found in _first(_of_different_patients(predictions, order), EXAMPLES)
    )
    return Examples(method.name, seed.seed, profiles, examples)


def _order(p: Predictions, scores: NDArray[np.float64], threshold: float | None) -> list[_Found]:
    """Volumes by what became of them: the lowest misses, the highest finds, the highest false alarms come first.

    Of equals the lower id.
    """
    abnormal = p.labels >= Label.BENIGN
    limit = np.inf if threshold is None else threshold
    rising, falling = (np.argsort(s, kind="stable") for s in (scores, -scores))
    missed = [i for i in rising if abnormal[i] and scores[i] <= limit]
    found = [i for i in falling if abnormal[i] and scores[i] > limit]
    alarms = [i for i in falling if not abnormal[i] and scores[i] > limit]
    named = (("missed", missed), ("found", found), ("false alarm", alarms))
    return [_Found(int(i), float(scores[i]), outcome) for outcome, some in named for i in some]


def _first(order: Sequence[_Found], counts: dict[str, int]) -> list[_Found]:
    """So many of each outcome, in order."""
    return [
        found
        for outcome, count in counts.items()
        for found in [f for f in order if f.outcome == outcome][:count]
    ]


def _of_different_patients(p: Predictions, order: Sequence[_Found]) -> list[_Found]:
    """Each patient's first volume of an outcome before any second one."""
    seen: set[tuple[str, str]] = set()
    first: list[_Found] = []
    again: list[_Found] = []
    for found in order:
        key = found.outcome, p.patients[found.position]
        (again if key in seen else first).append(found)
        seen.add(key)
    return first + again


def _profile(p: Predictions, scores: NDArray[np.float64], found: _Found) -> Profile:
    start, stop = p.volume_offsets[found.position : found.position + 2]
    return Profile(
        volume=p.volumes[found.position],
        label=Label(p.labels[found.position]),
        z=p.z[start:stop],
        scores=scores[start:stop],
        abnormal=p.abnormal[start:stop],
        outcome=found.outcome,
    )


def _example(
    dataset: PreparedDataset,
    p: Predictions,
    scores: NDArray[np.float64],
    file: str,
    found: _Found,
) -> Example:
    """Of an abnormal volume the scored slice nearest to the annotated one, of a normal one the highest-scoring one.

    Of equals the lower slice.
    """
    name = p.volumes[found.position]
    volume = next(v for v in dataset.cohort if v.id == name)
    start, stop = p.volume_offsets[found.position : found.position + 2]
    scored = p.z[start:stop]
    best = int(scored[np.argmax(scores[start:stop])])
    wanted = volume.boxes[0].z if volume.boxes and volume.label >= Label.BENIGN else best
    z = int(scored[np.argmin(np.abs(scored - wanted))])
    table = pq.read_table(file, filters=(pc.field("volume") == name) & (pc.field("z") == z))
    cells = table.slice(0, 1).to_pydict()
    reader = dataset.slices([next(i for i, v in enumerate(dataset.cohort) if v.id == name)])
    frame = _frame(volume)
    image = reader.read(SliceRef(0, z), frame)
    small, scale = _shrink(image, max(1, -(-max(image.shape) // LONGEST)))
    origin = np.array([frame.y0, frame.x0])
    return Example(
        volume=name,
        label=volume.label,
        outcome=found.outcome,
        z=z,
        n_slices=volume.n_slices,
        image=small,
        scale=scale,
        corners=np.array([cells["y"][0], cells["x"][0]], dtype=np.int64).T - origin,
        logits=np.array(cells["logits"][0], dtype=np.float64),
        patch_size=int((table.schema.metadata or {}).get(b"patch_size", b"0")),
        boxes=tuple(
            (b.x - frame.x0, b.y - frame.y0, b.width, b.height)
            for b in volume.boxes
            if b.z == wanted
        ),
    )


def _frame(volume: Volume) -> Rect:
    """What of a slice is shown: the tissue with a margin; all of it where no tissue was found."""
    y0, x0, y1, x1 = volume.crop
    if y1 <= y0 or x1 <= x0:
        return Rect(0, 0, volume.rows, volume.columns)
    margin = round(MARGIN * max(y1 - y0, x1 - x0))
    return Rect(
        max(0, y0 - margin),
        max(0, x0 - margin),
        min(volume.rows, y1 + margin),
        min(volume.columns, x1 + margin),
    )


def _shrink(image: NDArray[np.float32], step: int) -> tuple[NDArray[np.uint8], float]:
    """Means of ``step`` x ``step`` pixels as 8 bits, stretched to the slice's own brightest tissue."""
    rows, columns = (n - n % step for n in image.shape)
    blocks = image[:rows, :columns].reshape(rows // step, step, columns // step, step)
    means = blocks.mean(axis=(1, 3))
    top = float(np.quantile(means, 0.998)) or 1.0
    return (255 * np.clip(means / top, 0, 1)).astype(np.uint8), 1 / step
