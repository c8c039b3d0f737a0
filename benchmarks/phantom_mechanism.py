"""Why does one encoder find the phantom's lesions with few labels and another does not?

The breasts of test patients that have a lesion are rendered once more without it, everything else
the same. What a lesion moves of an encoder's features, as a share of what they vary by anyway, is
set beside the slice AUC of the row that was fine-tuned from it:

    python benchmarks/phantom_mechanism.py runs/quick
    python benchmarks/phantom_mechanism.py runs/few/labels-*    # one AUC column for each run

* share: mean squared move that the lesion causes / variance between lesion-free patches
* consistency: |mean move|^2 / mean |move|^2: do all lesions push the same way?
* identity: 1 - variance within a breast (its CC and MLO patch) / variance, without lesions

Encoders are frozen, as pretraining left them (random-init: as it begins); the rows are those of the
first run. Correlation is no cause. Two to four renderings a patient, each a fraction of a second
of a free core at 192 rows; --patients takes fewer.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from phantom_run import open_phantom, script, table
from scipy.stats import spearmanr

from dbtssl.benchmark.results.finished_run import open_run
from dbtssl.data.prepared.arrays import inside, zero_pad
from dbtssl.data.prepared.display import apply_window
from dbtssl.data.records import Rect, SliceRef
from dbtssl.errors import DataError
from dbtssl.phantom.imaging.render import render

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from phantom_run import PhantomRun
    from torch import nn

    from dbtssl.benchmark.results.finished_run import Run
    from dbtssl.benchmark.results.run_record import RowRecord
    from dbtssl.data.records import Box, Volume

    Features = NDArray[np.float64]

LEAST_ROWS = 4  # with 3, every order has a correlation of 0.5 or more, of either sign
BATCH = 64
SAME = 1e-3  # of the display range, mean over a patch: rounding on another machine


@dataclass(frozen=True)
class Twins:
    """Patches with and without their lesion, ``(n, S, S)`` in [0, 1], their breasts, and the kinds of lesion."""

    ill: NDArray[np.float32]
    well: NDArray[np.float32]
    breast: NDArray[np.int64]
    kind: NDArray[np.str_]


class Move(NamedTuple):
    """How lesions move features; nan where nothing moves."""

    share: float
    consistency: float


def total_variance(features: Features) -> float:
    """Variance between the rows of ``(n, D)``, unbiased, summed over features."""
    return float(features.var(axis=0, ddof=1).sum())


def move(ill: Features, well: Features, variance: float) -> Move:
    """Share of ``variance`` and consistency of the move from ``well`` to ``ill``, ``(n, D)`` each."""
    gap = ill - well
    squared = float((gap**2).sum(axis=1).mean())
    if not squared:
        return Move(0.0, float("nan"))
    return Move(
        squared / variance if variance else float("nan"),
        float((gap.mean(axis=0) ** 2).sum()) / squared,
    )


def identity(features: Features, breast: NDArray[np.int64]) -> float:
    """1 - pooled variance within breasts / total variance; nan where no breast has two patches, or all are alike."""
    _, codes, count = np.unique(breast, return_inverse=True, return_counts=True)
    paired = count[codes] > 1
    freedom = int(paired.sum() - (count > 1).sum())
    variance = total_variance(features)
    if not (freedom and variance):
        return float("nan")
    means = np.stack([np.bincount(codes, column) for column in features.T], axis=1) / count[:, None]
    within = float(((features - means[codes])[paired] ** 2).sum()) / freedom
    return 1 - within / variance


def measured(ill: Features, well: Features, twins: Twins) -> dict[str, float]:
    """All numbers of one encoder; those of a kind of lesion have its name."""
    variance = total_variance(well)
    found = {**move(ill, well, variance)._asdict(), "identity": identity(well, twins.breast)}
    for kind in sorted(set(twins.kind.tolist())):
        own = twins.kind == kind
        found |= {
            f"{name} {kind}": value
            for name, value in move(ill[own], well[own], variance)._asdict().items()
        }
    return found


def features(encoder: nn.Module, patches: NDArray[np.float32]) -> Features:
    """What ``encoder`` gives for ``(n, S, S)``: ``(n, D)``."""
    with torch.inference_mode():
        parts = torch.split(torch.from_numpy(patches)[:, None], BATCH)
        return torch.cat([encoder(part) for part in parts]).double().numpy()


def render_twins(phantom: PhantomRun, patients: int = 0) -> Twins:
    """Render the volumes with a box of the test patients, all or the first ``patients``, with and without lesion.

    A patch lies centred on the box, on its slice. `DataError` where slices were resized in preparation, or are not
    what is rendered now.
    """
    slices = phantom.data.dataset.slices(phantom.data.split.test)
    boxed = [(i, v) for i, v in enumerate(slices.cohort) if v.boxes]
    chosen = list(dict.fromkeys(v.patient for _, v in boxed))[: patients or None]
    ill, well, breast, kind = [], [], [], []
    for i, v in boxed:
        if v.patient not in chosen:
            continue
        if (v.rows, v.columns) != (phantom.config.rows, phantom.config.columns):
            raise DataError(
                f"volume {v.id} was resized from {phantom.config.rows} to {v.rows} rows",
                hint="run the benchmark without prepare.short_side",
            )
        planned = phantom.planned[v.id]
        assert planned.lesion is not None, "a volume with a box has a lesion"
        with_it, _ = render(phantom.config, planned)
        without, _ = render(phantom.config, planned.without_lesion())
        for box in v.boxes:
            rect = patch_rect(box, phantom.size)
            ill.append(patch(with_it, v, box.z, rect))
            well.append(patch(without, v, box.z, rect))
            stored = slices.read(SliceRef(i, box.z), rect)
            if np.abs(ill[-1] - stored).mean() > SAME:
                raise DataError(
                    f"volume {v.id}, rendered again, is not the one that the run prepared",
                    hint="use the version of dbtssl that made the run",
                )
            breast.append(f"{v.patient} {v.study} {v.side}")
            kind.append(planned.lesion.kind)
    _, codes = np.unique(breast, return_inverse=True)
    return Twins(np.stack(ill), np.stack(well), codes.astype(np.int64), np.array(kind))


def patch_rect(box: Box, size: int) -> Rect:
    """The patch of ``size`` pixels round the middle of ``box``."""
    y, x = (round(m - size / 2) for m in (box.y + box.height / 2, box.x + box.width / 2))
    return Rect(y, x, y + size, x + size)


def patch(pixels: NDArray[np.uint16], volume: Volume, z: int, rect: Rect) -> NDArray[np.float32]:
    """``rect`` of slice ``z`` of rendered ``pixels``, as a prepared slice shows it; 0 outside."""
    seen = inside(rect, volume.rows, volume.columns)
    cut = pixels[z, seen.y0 : seen.y1, seen.x0 : seen.x1]
    return np.asarray(zero_pad(apply_window(cut, volume.window), seen, rect), dtype=np.float32)


def source(phantom: PhantomRun, record: RowRecord) -> str:
    """Which encoder a row begins fine-tuning from: rows with the same one share its numbers."""
    row = phantom.rows[record.method]
    begin = "" if row.initial is None else row.initial.source
    own = f"{row.backbone.name} {row.backbone.args} {begin} {record.seed}"
    return record.stages.get("pretrain") or own


def slice_auc(run: Run, record: RowRecord) -> float | None:
    """The AUC of slices of a row, if it has one."""
    if not record.score:
        return None
    for row in run.score(record).rows:
        if (
            row.kind == "method"
            and row.level == "slice"
            and not row.subgroup
            and "auc" in row.values
        ):
            return row.values["auc"].value
    return None


def over_seeds(values: Sequence[float | None]) -> dict[str, float | None]:
    """Mean and range of what is known."""
    known = [v for v in values if v is not None and np.isfinite(v)]
    if not known:
        return {"mean": None, "low": None, "high": None}
    return {"mean": float(np.mean(known)), "low": min(known), "high": max(known)}


def rank_correlation(one: Sequence[float | None], other: Sequence[float | None]) -> float | None:
    """Spearman's rank correlation over the rows that have both; None of fewer than 4, or where one is constant."""
    both = [(a, b) for a, b in zip(one, other, strict=True) if a is not None and b is not None]
    if len(both) < LEAST_ROWS or any(len(set(side)) < 2 for side in zip(*both, strict=True)):
        return None
    return float(spearmanr(*zip(*both, strict=True)).statistic)


def shown(found: Mapping[str, float | None]) -> str:
    mean, low, high = (found[k] for k in ("mean", "low", "high"))
    if mean is None or low is None or high is None:
        return "-"
    return f"{mean:.3f}" if low == high else f"{mean:.3f} ({low:.3f} to {high:.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN",
        help="folders of finished runs on one phantom; of all but the first the AUCs alone are taken",
    )  # fmt: skip
    parser.add_argument("--patients", type=int, default=0, help="ill test patients; 0: all")
    parser.add_argument("--out", type=Path, help="write the numbers to this JSON file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    began = time.monotonic()
    phantom = open_phantom(options.runs[0])
    runs = {str(path): open_run(path) for path in options.runs}
    for path, run in runs.items():
        if (run.record.data, run.record.split) != (
            phantom.run.record.data,
            phantom.run.record.split,
        ):
            raise DataError(
                f"{path} has other data or another split than {options.runs[0]}",
                hint="give runs on the same phantom, with the same split",
            )
    twins = render_twins(phantom, options.patients)
    rendered = round(time.monotonic() - began)
    by_source: dict[str, dict[str, float]] = {}
    rows: dict[str, Any] = {}
    for method in dict.fromkeys(r.method for r in phantom.run.record.rows):
        records = phantom.records(method)
        of_seeds = []
        for record in records:
            key = source(phantom, record)
            if key not in by_source:
                encoder = phantom.encoder(record)
                ill, well = features(encoder, twins.ill), features(encoder, twins.well)
                by_source[key] = measured(ill, well, twins)
            of_seeds.append(by_source[key])
        rows[method] = {name: over_seeds([s[name] for s in of_seeds]) for name in of_seeds[0]}
        rows[method]["auc"] = {
            path: over_seeds([slice_auc(run, r) for r in run.record.rows if r.method == method])
            for path, run in runs.items()
        }
    names = [name for name in next(iter(rows.values())) if name != "auc"]
    correlation = {
        path: {
            name: rank_correlation(
                [row[name]["mean"] for row in rows.values()],
                [row["auc"][path]["mean"] for row in rows.values()],
            )
            for name in names
        }
        for path in runs
    }
    seconds = {"rendering": rendered, "all": round(time.monotonic() - began)}
    print(text(rows, names, correlation, twins, len(by_source)))
    print(f"\n{seconds['all']} s, {rendered} s of them to open and render")
    if options.out:
        record_ = {
            "runs": list(runs), "phantom": True, "data": phantom.run.record.data,
            "split": phantom.run.record.split, "lesions": len(twins.kind),
            "breasts": len(set(twins.breast.tolist())), "rows": rows, "spearman": correlation,
            "seconds": seconds,
        }  # fmt: skip
        options.out.write_text(json.dumps(record_, indent=2) + "\n", encoding="utf-8")


def text(
    rows: Mapping[str, Any],
    names: Sequence[str],
    correlation: Mapping[str, Mapping[str, float | None]],
    twins: Twins,
    encoders: int,
) -> str:
    """The tables: what all lesions do, and what each kind does."""
    kinds = sorted(set(twins.kind.tolist()))
    main_names = [n for n in names if not n.endswith(tuple(kinds))]
    runs = list(correlation)
    titles = ["slice AUC" if len(runs) == 1 else f"slice AUC, {Path(path).name}" for path in runs]
    head = ["row: mean (range of seeds)", *main_names, *titles]
    body = [
        [method, *(shown(row[n]) for n in main_names), *(shown(row["auc"][p]) for p in runs)]
        for method, row in rows.items()
    ]
    parts = [
        f"phantom: {len(twins.kind)} lesions in {len(set(twins.breast.tolist()))} breasts of test patients",
        table([head, *body]),
    ]
    counts = {kind: int((twins.kind == kind).sum()) for kind in kinds}
    head = ["share of the variance", *(f"{kind} ({counts[kind]})" for kind in kinds)]
    body = [[m, *(shown(row[f"share {k}"]) for k in kinds)] for m, row in rows.items()]
    parts.append(table([head, *body]))
    lines = [
        f"Spearman of {name} with {title} over {len(rows)} rows: "
        + ("fewer than 4 rows, or no differences" if value is None else f"{value:+.2f}")
        for title, path in zip(titles, runs, strict=True)
        for name, value in correlation[path].items()
        if name in main_names
    ]
    lines.append(f"These rows begin from {encoders} encoders, seeds counted one by one.")
    return "\n\n".join([*parts, "\n".join(lines)])


if __name__ == "__main__":
    script(main)
