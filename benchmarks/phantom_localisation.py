"""Where on a slice does a presence head that saw no label find the phantom's lesions?

The head that painted objects taught is asked at every place of each annotated slice of the test
patients; the three highest separate spots are its answer. Beside it stand brightness, a blob filter
and chance, on the same tissue and with the same rule:

    python benchmarks/phantom_localisation.py runs/quick --picture spots.png

No label trains anything here. The boxes of validation patients choose among the kinds of map (or of
filter sizes) unless --map and --scale name one. On one core a slice and seed took 0.1 to 0.3 s with a
cnn7 of 8 base channels at 192 rows, so some minutes for hundreds of slices; --limit takes fewer.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from phantom_maps import STEP, blob, brightness, head_maps
from phantom_run import difference, millimetres, open_phantom, scaled, script, share, shown, table
from scipy import ndimage

from dbtssl.data.records import SliceRef
from dbtssl.evaluation.localisation.boxes import FULL_ROWS
from dbtssl.evaluation.localisation.detection import Detection, match
from dbtssl.phantom.cohort.phantom_cohort import grid_of
from dbtssl.phantom.findings import vessels
from dbtssl.phantom.output.truth import outlined

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from phantom_maps import Image, Map, Mapper, Mask
    from phantom_run import PhantomRun

    from dbtssl.data.records import Box, Volume
    from dbtssl.phantom.cohort.phantom_cohort import PlannedVolume
    from dbtssl.phantom.model.phantom_config import PhantomConfig


TOP = 3  # spots a slice
SKIN = 5.0  # mm inside the tissue mask: the skin line is bright everywhere
APART = 20.0  # mm between two spots: twice the 100 pixels within which the official rule sees a hit
SCALES = (1.0, 1.5)  # by how much the slice is enlarged before the head sees it
BRIGHT = (2.0, 4.0, 8.0)  # mm, standard deviations of the brightness
NEAR = 5.0  # mm round a harmless thing, across and in depth, within which a spot lies on it
VESSEL_NEAR = 2.5  # mm from a vessel's wall: vessels run everywhere
CHANCE = 40  # draws of random spots a slice
OTHER = "none of these"


@dataclass(frozen=True)
class LesionSlice:
    """An annotated slice: the pixels, where spots may lie, its boxes, and what else lies there (kind, box).

    ``vessels`` are points along those at the depth of the slice: row, column and radius in pixels, ``(n, 3)``.
    """

    volume: Volume
    kind: str
    z: int
    image: Image
    mask: Mask
    boxes: tuple[Box, ...]
    things: tuple[tuple[str, Box], ...]
    spacing: float  # mm between slices
    vessels: Map

    @property
    def pixel(self) -> float:
        return millimetres(self.volume)


def lesion_slices(phantom: PhantomRun, part: Sequence[int], limit: int = 0) -> list[LesionSlice]:
    """The annotated slices of the volumes ``part``, evenly thinned to ``limit`` where that is not 0."""
    slices = phantom.data.dataset.slices(part)
    refs = [
        SliceRef(i, z) for i, v in enumerate(slices.cohort) for z in sorted({b.z for b in v.boxes})
    ]
    if limit and len(refs) > limit:
        refs = [refs[i * len(refs) // limit] for i in range(limit)]
    found = []
    for ref in refs:
        volume = slices.cohort[ref.volume]
        planned = phantom.planned[volume.id]
        assert planned.lesion is not None, "an annotated volume has a lesion"
        scale = volume.rows / planned.rows
        found.append(
            LesionSlice(
                volume,
                planned.lesion.kind,
                ref.z,
                slices.read(ref),
                eroded(slices.tissue(ref.volume), SKIN / millimetres(volume)),
                tuple(box for box in volume.boxes if box.z == ref.z),
                tuple((kind, scaled(b, scale)) for kind, b in outlined(phantom.config, planned)),
                phantom.config.slice_spacing,
                vessels_at(phantom.config, planned, ref.z) * scale,
            )
        )
    return found


def vessels_at(config: PhantomConfig, planned: PlannedVolume, z: int) -> Map:
    """Points of vessels whose wall is within `NEAR` mm of slice ``z``: row, column, radius in pixels, ``(n, 3)``."""
    if planned.innocent is None:
        return np.zeros((0, 3))
    breast, left = planned.breast, planned.positioning.left
    grid, shape = grid_of(config, breast, planned.positioning)
    height = float(grid.z()[z])
    found = [np.zeros((0, 3))]
    paths = vessels.tree(planned.innocent.vessels, breast)
    for tube in vessels.tubes(paths, breast, shape, planned.lesion, grid.pixel):
        for (u, v, at), radius in zip(tube.places.tolist(), tube.radius.tolist(), strict=True):
            if abs(at - height) <= radius + NEAR:
                x, y = grid.pixel_at(u, v, at)
                found.append(np.array([[y, x if left else grid.columns - x, radius / grid.pixel]]))
    return np.concatenate(found)


def eroded(mask: Mask, by: float) -> Mask:
    """The pixels of ``mask`` further than ``by`` pixels from what is outside it; the frame's edge is no outside."""
    if mask.all():
        return mask
    return np.asarray(ndimage.distance_transform_edt(mask) > by)


def spots(values: Map, mask: Mask, apart: float, count: int = TOP) -> list[tuple[int, int]]:
    """The ``count`` highest pixels ``(y, x)`` of ``values`` within ``mask``, ``apart`` pixels from each other."""
    left = np.where(mask, values, -np.inf)
    y, x = np.ogrid[: left.shape[0], : left.shape[1]]
    found: list[tuple[int, int]] = []
    while len(found) < count and np.isfinite(left.max()):
        row, column = (int(i) for i in np.unravel_index(int(left.argmax()), left.shape))
        found.append((row, column))
        left[np.hypot(y - row, x - column) < apart] = -np.inf
    return found


def hits(found: Sequence[tuple[int, int]], of: LesionSlice) -> list[bool]:
    """Of each spot whether it hits a lesion of its slice by the official rule (`localisation.detection`)."""
    scale = FULL_ROWS / of.volume.rows
    at = [Detection(scale * (x + 0.5), scale * (y + 0.5), 0, 0, of.z, 0, 0) for y, x in found]
    matched = match([[scaled(b, scale) for b in of.boxes]], [of.volume.n_slices], [at])
    return [bool(box >= 0) for box in matched.box]


def inside(found: Sequence[tuple[int, int]], of: LesionSlice) -> list[bool]:
    """Of each spot whether it lies in a lesion's box: stricter where the box is small."""
    return [
        any(b.x <= x + 0.5 < b.x + b.width and b.y <= y + 0.5 < b.y + b.height for b in of.boxes)
        for y, x in found
    ]


def thing_at(spot: tuple[int, int], of: LesionSlice) -> str:
    """The kind of the nearest harmless thing that a spot lies on.

    Its centre is within half the diagonal of the thing's box or `NEAR` mm across, and within half its side plus `NEAR`
    mm in depth. Where there is none, ``vessel`` if one's wall is within `VESSEL_NEAR` mm.
    """
    best, kind = np.inf, OTHER
    for name, box in of.things:
        dy, dx = spot[0] + 0.5 - box.y - box.height / 2, spot[1] + 0.5 - box.x - box.width / 2
        across, depth = np.hypot(dy, dx) * of.pixel, abs(of.z - box.z) * of.spacing
        reach = max(np.hypot(box.width, box.height) / 2 * of.pixel, NEAR)
        side = max(box.width, box.height) * of.pixel
        if across <= reach and depth <= side / 2 + NEAR and across < best:
            best, kind = across, name
    if kind == OTHER and len(of.vessels):
        away = np.hypot(spot[0] + 0.5 - of.vessels[:, 0], spot[1] + 0.5 - of.vessels[:, 1])
        if ((away - of.vessels[:, 2]) * of.pixel <= VESSEL_NEAR).any():
            return "vessel"
    return kind


@dataclass(frozen=True)
class Asked:
    """What one map found: hit and in a box within the first 1 to 3 spots, ``(n, 3)``, and what false spots lie on."""

    hit: NDArray[np.float64]
    box: NDArray[np.float64]
    false: Mapping[str, float]  # kind to number of spots

    @property
    def order(self) -> tuple[float, float]:
        """What validation chooses by: the share of hits at the first spot, then within three."""
        return float(self.hit[:, 0].mean()), float(self.hit[:, -1].mean())


def ask(mapper: Mapper, slices: Sequence[LesionSlice]) -> Asked:
    """The spots of ``mapper`` on every slice."""
    return judged(
        [spots(mapper(s.image, s.mask, s.pixel), s.mask, APART / s.pixel) for s in slices], slices
    )


def judged(found: Sequence[list[tuple[int, int]]], slices: Sequence[LesionSlice]) -> Asked:
    """Hits and false spots of the spots ``found`` on each slice."""
    rows: dict[str, list[NDArray[np.bool_]]] = {"hit": [], "box": []}
    false: Counter[str] = Counter()
    for own, of in zip(found, slices, strict=True):
        hit = hits(own, of)
        for name, one in (("hit", hit), ("box", inside(own, of))):
            padded = np.array([*one, *[False] * (TOP - len(one))])
            rows[name].append(np.logical_or.accumulate(padded))
        false.update(thing_at(spot, of) for spot, on in zip(own, hit, strict=True) if not on)
    hit_rows, box_rows = (
        np.array(rows[k], dtype=np.float64).reshape(-1, TOP) for k in ("hit", "box")
    )
    return Asked(hit_rows, box_rows, false)


def mean_of(parts: Sequence[Asked]) -> Asked:
    """The mean over seeds or draws."""
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part.false)
    return Asked(
        np.mean([p.hit for p in parts], axis=0),
        np.mean([p.box for p in parts], axis=0),
        {kind: n / len(parts) for kind, n in total.items()},
    )


def chance(slices: Sequence[LesionSlice], draws: int = CHANCE) -> Asked:
    """Spots at random places of the same tissue, with the same distance between them."""
    rng = np.random.default_rng(0)
    return mean_of(
        [ask(lambda image, mask, pixel: rng.random(image.shape), slices) for _ in range(draws)]
    )


def best(maps: Mapping[str, Mapper], slices: Sequence[LesionSlice]) -> tuple[str, dict[str, Any]]:
    """The map that finds most on ``slices``, the first of equals, and what each found."""
    if len(maps) == 1:
        return next(iter(maps)), {}
    found = {name: ask(mapper, slices).order for name, mapper in maps.items()}
    return max(found, key=lambda name: found[name]), {n: list(v) for n, v in found.items()}


def summary(asked: Asked, slices: Sequence[LesionSlice]) -> dict[str, Any]:
    """Shares with intervals: all lesion slices and by kind, within 1, 2 and 3 spots."""
    patients, kinds = _patients(slices), np.array([s.kind for s in slices])
    out: dict[str, Any] = {}
    for kind in ("all", *sorted(set(kinds))):
        chosen = np.ones(len(kinds), bool) if kind == "all" else kinds == kind
        out[kind] = {
            f"{name} top {k + 1}": share(rows[chosen, k], patients[chosen])
            for name, rows in (("hit", asked.hit), ("in box", asked.box))
            for k in range(TOP)
        }
    number = sum(asked.false.values())
    out["false spots"] = {
        "number": number,
        "on": {kind: n / number for kind, n in sorted(asked.false.items())},
    }
    return out


def _patients(slices: Sequence[LesionSlice]) -> NDArray[np.int64]:
    _, codes = np.unique([s.volume.patient for s in slices], return_inverse=True)
    return codes.astype(np.int64)


def report(
    methods: Mapping[str, Asked], slices: Sequence[LesionSlice]
) -> tuple[str, dict[str, Any]]:
    """The tables as text and the numbers; differences are of the first method to each other one."""
    numbers: dict[str, Any] = {name: summary(asked, slices) for name, asked in methods.items()}
    patients = _patients(slices)
    kinds = ["all", *sorted({s.kind for s in slices})]
    count = Counter(s.kind for s in slices) | Counter({"all": len(slices)})
    parts = []
    for kind in kinds:
        head = [
            f"{kind}, {count[kind]} slices",
            *(f"top {k + 1}" for k in range(TOP)),
            "in the box, top 1",
        ]
        rows = [
            [
                name,
                *(shown(found[kind][f"hit top {k + 1}"]) for k in range(TOP)),
                shown(found[kind]["in box top 1"]),
            ]
            for name, found in numbers.items()
        ]
        parts.append(table([head, *rows]))
    first, *others = methods
    gaps: dict[str, Any] = {
        other: {
            f"top {k + 1}": difference(methods[first].hit[:, k], methods[other].hit[:, k], patients)
            for k in range(TOP)
        }
        for other in others
    }
    rows = [
        [f"{first} minus {other}", *(shown(v, "+") for v in gap.values())]
        for other, gap in gaps.items()
    ]
    parts.append(table([["difference, all slices", *(f"top {k + 1}" for k in range(TOP))], *rows]))
    things = sorted(
        {kind for found in numbers.values() for kind in found["false spots"]["on"]} - {OTHER}
    )
    head = ["false spots lie on", *things, OTHER, "number"]
    rows = []
    for name, found in numbers.items():
        false = found["false spots"]
        cells = [f"{100 * false['on'].get(kind, 0):.0f} %" for kind in (*things, OTHER)]
        rows.append([name, *cells, f"{false['number']:.0f}"])
    parts.append(table([head, *rows]))
    return "\n\n".join(parts), {"methods": numbers, "differences": gaps}


def pictured(slices: Sequence[LesionSlice], count: int = 6) -> list[LesionSlice]:
    """The first slices of each kind in turn, in the order of the cohort: none is picked by what was found."""
    kinds = {
        kind: [s for s in slices if s.kind == kind] for kind in sorted({s.kind for s in slices})
    }
    turns = [own[i] for i in range(len(slices)) for own in kinds.values() if i < len(own)]
    return sorted(turns[:count], key=lambda s: s.kind)


def picture(path: Path, mapper: Mapper, slices: Sequence[LesionSlice]) -> None:
    """Six slices, plain above and with map and spots below: boxes white, spots numbered, hits green."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    chosen = pictured(slices)
    figure = Figure(figsize=(2.6 * len(chosen), 6.8), layout="constrained")
    axes = figure.subplots(2, len(chosen), squeeze=False)
    for column, of in enumerate(chosen):
        values = mapper(of.image, of.mask, of.pixel)
        found = spots(values, of.mask, APART / of.pixel)
        for row in (0, 1):
            ax = axes[row, column]
            ax.imshow(of.image, cmap="gray", vmin=0, vmax=float(np.quantile(of.image, 0.999)))
            ax.set_axis_off()
            for b in of.boxes:
                corner = (b.x - 0.5, b.y - 0.5)
                ax.add_patch(Rectangle(corner, b.width, b.height, fill=False, color="white"))
        axes[0, column].set_title(f"{of.kind}\n{of.volume.patient} {of.volume.view}", fontsize=9)
        axes[1, column].imshow(np.ma.array(values, mask=~of.mask), cmap="inferno", alpha=0.45)
        for number, (spot, hit) in enumerate(zip(found, hits(found, of), strict=True), start=1):
            colour = "lime" if hit else "cyan"
            axes[1, column].plot(spot[1], spot[0], "o", mfc="none", mec=colour, ms=12)
            axes[1, column].annotate(
                str(number), (spot[1], spot[0]), color=colour, ha="center", va="center", fontsize=8
            )
    figure.suptitle(
        "phantom: lesion slices of test patients; box white, three highest spots, a hit green",
        fontsize=10,
    )
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="folder of a finished run on the phantom")
    parser.add_argument("--row", default="implants-no-labels", help="a row with a presence head")
    parser.add_argument("--seeds", type=int, nargs="+", default=[], help="default: all of the row")
    parser.add_argument(
        "--map", choices=["auto", "places", "cam", "windows"], default="auto",
        help="the head that learnt places, or the presence head, at places of the feature map, or the presence of the "
        "patch round each place; default: places (cam where no such head was kept) or windows, what finds more on "
        "validation patients",
    )  # fmt: skip
    parser.add_argument(
        "--scale", type=float, nargs="+", default=list(SCALES),
        help="enlargement of the slice; of several, validation chooses",
    )  # fmt: skip
    parser.add_argument("--limit", type=int, default=0, help="test slices at most; 0: all")
    parser.add_argument(
        "--val-limit", type=int, default=24, help="validation slices at most; 0: all"
    )
    parser.add_argument("--picture", type=Path, help="six slices with map and spots, as an image")
    parser.add_argument("--out", type=Path, help="write the numbers to this JSON file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    began = time.monotonic()
    phantom = open_phantom(options.run)
    records = phantom.records(options.row, options.seeds)
    models = [phantom.presence(record) for record in records]
    val = lesion_slices(phantom, phantom.data.split.val, options.val_limit)
    test = lesion_slices(phantom, phantom.data.split.test, options.limit)
    maps = [
        head_maps(model, phantom.place(record), phantom.size, options.map, options.scale)
        for model, record in zip(models, records, strict=True)
    ]
    name, tried = best(maps[0], val)
    sigmas = {f"sigma {s:g} mm": partial(brightness, sigma=s) for s in BRIGHT}
    sigma, tried_sigmas = best(sigmas, val)
    of_seeds = [ask(own[name], test) for own in maps]
    methods = {
        options.row: mean_of(of_seeds),
        "brightness": ask(sigmas[sigma], test),
        "blob filter": ask(blob, test),
        "chance": chance(test),
    }
    text, numbers = report(methods, test)
    seconds = round(time.monotonic() - began)
    print(
        f"{phantom.run.name}, phantom: {options.row}, seeds {', '.join(str(r.seed) for r in records)}"
    )
    print(
        f"map: {name} (validation, {len(val)} slices; share found at the first spot, within three):"
    )
    for one, found in (tried | tried_sigmas).items():
        print(f"  {one:16} {found[0]:.2f} {found[1]:.2f}")
    print(
        f"brightness: {sigma}. Spots {APART:g} mm apart, {SKIN:g} mm inside the tissue mask or more.\n"
    )
    print(text)
    print(f"\nHit: official rule of DBTex. {seconds} s")
    if options.picture:
        picture(options.picture, maps[0][name], test)
    if options.out:
        record = {
            "run": phantom.run.name, "row": options.row, "seeds": [r.seed for r in records], "phantom": True,
            "data": phantom.run.record.data, "split": phantom.run.record.split,
            "map": name, "brightness": sigma, "validation": tried | tried_sigmas,
            "validation_slices": len(val), "test_slices": len(test),
            "rule": {"apart_mm": APART, "skin_mm": SKIN, "step_mm": STEP, "near_mm": NEAR, "vessel_mm": VESSEL_NEAR},
            "by_seed": {r.seed: a.hit.mean(axis=0).tolist() for r, a in zip(records, of_seeds, strict=True)},
            **numbers, "seconds": seconds,
        }  # fmt: skip
        options.out.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    script(main)
