"""How hard the phantom is: can one number find its lesions, and can a network that has all labels?

Renders patients of a balanced cohort, cuts a patch round every lesion, round as many things that
are no lesions (`Innocent`), and at as many places of healthy breasts where a lesion might be. It
prints the AUC of single statistics of a patch, and that of a small network on patients it has not
seen, with intervals clustered by patient:

    python benchmarks/phantom_findings.py --patients 600 --rows 192
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import timm
import torch
import torch.nn.functional as F
from scipy import ndimage
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from dbtssl.data.records import Label
from dbtssl.phantom.cohort.phantom_cohort import PlannedVolume, grid_of, plan
from dbtssl.phantom.cohort.population import Purpose, stream
from dbtssl.phantom.findings import lesions
from dbtssl.phantom.imaging.render import render
from dbtssl.phantom.model.phantom_config import PhantomConfig
from dbtssl.phantom.output.truth import outlined

if TYPE_CHECKING:
    from numpy.typing import NDArray

PATCH = 82.0  # mm, the side that the network sees
MARGIN = 10.0  # mm more are cut, so that training can move the patch
HARMLESS = ("cyst", "gland-island", "lymph-node")  # compact, bright, within the breast
LESION, INNOCENT, GHOST = 1, 0, -1


def patches(
    task: tuple[PhantomConfig, tuple[PlannedVolume, ...]],
) -> list[tuple[int, str, str, Any]]:
    """``(class, patient, kind, patch)`` of a patient's volumes."""
    config, volumes = task
    patient = volumes[0].patient
    found = []
    ill = [v for v in volumes if v.lesion is not None]
    number = int(patient[-5:])
    rng = stream(config, number, Purpose.LESION, 99)
    for v in ill or volumes[:2]:
        spots: list[tuple[int, str, Any]] = (
            [(LESION, v.lesion.kind, v.boxes[0])] if v.lesion else []
        )
        if not ill:
            things = [(kind, box) for kind, box in outlined(config, v) if kind in HARMLESS]
            order = rng.permutation(len(things))[:2]
            spots += [(INNOCENT, *things[i]) for i in order]
            spots.append((GHOST, "tissue", _ghost(config, v, rng)))
        pixels, _ = render(config, v)
        for kind, name, box in spots:
            cut = _cut(pixels, box, config.pixel)
            found.append((kind, patient, name, cut))
    return found


def _ghost(config: PhantomConfig, volume: PlannedVolume, rng: np.random.Generator) -> Any:
    """The box of a lesion that a healthy breast might have."""
    grid, shape = grid_of(config, volume.breast, volume.positioning)
    lesion = lesions.draw(Label.CANCER, config.contrasts, [shape], rng, full=True)
    return lesions.box(lesion, Label.CANCER, shape, grid, volume.positioning.left)


def _cut(pixels: NDArray[np.uint16], box: Any, pixel: float) -> NDArray[np.uint16]:
    """Three neighbouring slices round the middle of ``box``, the chest wall to the left."""
    if pixels[:, :, 0].sum() < pixels[:, :, -1].sum():
        pixels, x = pixels[:, :, ::-1], pixels.shape[2] - box.x - box.width / 2
    else:
        x = box.x + box.width / 2
    half = round((PATCH / 2 + MARGIN) / pixel)
    z = np.clip([box.z - 1, box.z, box.z + 1], 0, len(pixels) - 1)
    padded = np.pad(pixels[z], ((0, 0), (half, half), (half, half)))
    row, column = int(box.y + box.height / 2), int(x)
    return padded[:, row : row + 2 * half, column : column + 2 * half]


def statistics(patch: NDArray[np.uint16], pixel: float) -> dict[str, float]:
    """Numbers that a reader might try: brightness, contrast, size, and blobs, of one patch."""
    image = patch[1].astype(float)
    middle = len(image) // 2
    y, x = np.ogrid[: len(image), : len(image)]
    r = np.hypot(y - middle, x - middle) * pixel
    tissue = image > 200
    core, near, far = r < 4, (r < 12) & tissue, (r > 16) & (r < 30) & tissue
    around = image[far] if far.any() else image[near]
    level = np.median(around) + 2 * around.std()
    spots, _ = ndimage.label((image > (image[core].mean() + np.median(around)) / 2) & (r < 41))
    spot = spots == spots[middle, middle] if spots[middle, middle] else np.zeros_like(spots, bool)
    found = {
        "mean within 4 mm": image[core].mean(),
        "maximum within 12 mm": image[near].max(),
        "99th percentile within 41 mm": np.quantile(image[(r < 41) & tissue], 0.99),
        "standard deviation within 12 mm": image[near].std(),
        "mean within 41 mm": image[(r < 41) & tissue].mean(),
        "contrast of core and surroundings": image[core].mean() - around.mean(),
        "share of bright pixels": (image[near] > level).mean(),
        "size of the spot": np.sqrt(spot.sum()) * pixel,
        "gradient within 12 mm": np.hypot(*np.gradient(image))[near].mean(),
    }
    for sigma in (2, 4, 8):
        blob = -ndimage.gaussian_laplace(image, sigma / pixel)
        found[f"blob of {sigma} mm"] = blob[core].max()
    return {name: float(value) for name, value in found.items()}


def network() -> nn.Module:
    """A thin residual network of stride 8 on one patch, mean and maximum of its map: logits, shape ``(N, 1)``."""
    model: nn.Module = timm.create_model(
        "resnet10t", in_chans=1, num_classes=1, channels=[16, 24, 32, 48],
        stem_type="deep", stem_width=8, output_stride=8, global_pool="avgmax",
    )  # fmt: skip
    return model


def crop(images: Tensor, size: int, rng: np.random.Generator | None) -> Tensor:
    """``(N, 3, S, S)`` to ``(N, 1, size, size)``: the middle, or one of many views of it."""
    n, _, full, _ = images.shape
    if rng is None:
        low = (full - size) // 2
        return images[:, 1:2, low : low + size, low : low + size]
    angle = torch.tensor(rng.uniform(-0.35, 0.35, n), dtype=torch.float32)
    zoom = torch.tensor(np.exp(rng.uniform(-0.2, 0.2, n)), dtype=torch.float32) * size / full
    flip = torch.tensor(rng.choice([-1.0, 1.0], n), dtype=torch.float32)
    move = torch.tensor(rng.uniform(-1, 1, (n, 2)) * 10 / full, dtype=torch.float32)
    c, s = angle.cos() * zoom, angle.sin() * zoom
    theta = torch.stack((c, -s * flip, move[:, 0], s, c * flip, move[:, 1]), 1).view(n, 2, 3)
    slices = images[torch.arange(n), torch.tensor(rng.integers(0, 3, n))][:, None]
    grid = F.affine_grid(theta, [n, 1, size, size], align_corners=False)
    gain = torch.tensor(rng.normal(1, 0.1, (n, 1, 1, 1)), dtype=torch.float32)
    level = torch.tensor(rng.normal(0, 0.1, (n, 1, 1, 1)), dtype=torch.float32)
    return F.grid_sample(slices, grid, align_corners=False) * gain + level


def train(images: Tensor, ill: Tensor, size: int, steps: int, seed: int) -> nn.Module:
    """Fit the network to balanced batches of 64."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = network().train()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    pools = [torch.nonzero(ill == c)[:, 0].numpy() for c in (0, 1)]
    target = torch.cat((torch.zeros(32), torch.ones(32)))
    for step in range(steps):
        batch = np.concatenate([rng.choice(pool, 32) for pool in pools])
        logits = model(crop(images[torch.tensor(batch)], size, rng))[:, 0]
        loss = F.binary_cross_entropy_with_logits(logits, target)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if step % 200 == 0:
            print(f"step {step} loss {float(loss.detach()):.3f}", flush=True)
    return model.eval()


def interval(
    ill: Any, score: Any, patient: Any, draws: int = 1000, level: float = 0.95
) -> tuple[float, float, float]:
    """AUC and its interval of that ``level``: patients are drawn with replacement."""
    rng = np.random.default_rng(0)
    groups = [np.flatnonzero(patient == p) for p in np.unique(patient)]
    found = []
    for _ in range(draws):
        rows = np.concatenate([groups[i] for i in rng.integers(0, len(groups), len(groups))])
        if 0 < ill[rows].sum() < len(rows):
            found.append(roc_auc_score(ill[rows], score[rows]))
    return float(roc_auc_score(ill, score)), *np.quantile(
        found, [(1 - level) / 2, (1 + level) / 2]
    ).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=600)
    parser.add_argument("--rows", type=int, default=192)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=4000, help="0: no network")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--anatomy", choices=["plain", "full"], default="full")
    parser.add_argument("--contrast", type=float, nargs=2, help="range; default: the anatomy's")
    parser.add_argument("--cache", type=Path, help="keep the patches in this file")
    parser.add_argument("--out", type=Path, help="write the numbers to this JSON file")
    options = parser.parse_args()
    config = PhantomConfig(
        patients=options.patients, rows=options.rows, seed=options.seed, repeat_study=0,
        anatomy=options.anatomy,
        contrast=options.contrast and tuple(options.contrast),
    )  # fmt: skip
    torch.set_num_threads(1)
    began = time.time()
    if options.cache and options.cache.exists():
        data = np.load(options.cache)
        kind, patient, name, cuts = (data[k] for k in ("kind", "patient", "name", "cuts"))
    else:
        groups = groupby(plan(config), key=lambda v: v.patient)
        tasks = [(config, tuple(volumes)) for _, volumes in groups]
        with ProcessPoolExecutor(options.jobs) as pool:
            rows = [row for part in pool.map(patches, tasks, chunksize=8) for row in part]
        kind, patient, name, cuts = map(np.array, zip(*rows, strict=True))
        if options.cache:
            np.savez(options.cache, kind=kind, patient=patient, name=name, cuts=cuts)
    rendered = time.time() - began
    record: dict[str, Any] = {"config": vars(options) | {"cache": None, "out": None}}
    record["patches"] = {str(k): int((kind == k).sum()) for k in (LESION, INNOCENT, GHOST)}
    table = [statistics(cut, config.pixel) for cut in cuts]
    print(f"AUC of single statistics ({record['patches']}): lesions or innocent, lesions or tissue")
    record["statistics"] = {}
    for key in table[0]:
        value = np.array([row[key] for row in table])
        row = {}
        for other, against in ((INNOCENT, "innocent"), (GHOST, "tissue")):
            chosen = (kind == LESION) | (kind == other)
            auc = roc_auc_score(kind[chosen] == LESION, value[chosen])
            row[against] = max(auc, 1 - auc)
        record["statistics"][key] = row
        print(f"  {key:36} {row['innocent']:.3f} {row['tissue']:.3f}", flush=True)
    if options.steps:
        record["network"] = supervised(kind, patient, name, cuts, config, options)
    record["seconds"] = {"rendering": round(rendered), "all": round(time.time() - began)}
    print(record["seconds"])
    if options.out:
        options.out.write_text(json.dumps(record, indent=2) + "\n")


def supervised(
    kind: Any, patient: Any, name: Any, cuts: Any, config: PhantomConfig, options: Any
) -> dict[str, Any]:
    """AUCs on the quarter of the patients that the network has not seen."""
    size = round(PATCH / config.pixel / 16) * 16
    images = (torch.tensor(cuts.astype(np.float32)) - 380) / 80
    ill = kind == LESION
    number = np.array([int(p[-5:]) for p in patient])
    test = number % 4 == 0
    model = train(images[~test], torch.tensor(ill[~test]), size, options.steps, options.seed)
    with torch.inference_mode():
        middle = crop(images[test], size, None)
        score = torch.cat([model(part)[:, 0] for part in middle.split(256)]).numpy()
    found: dict[str, Any] = {}
    chosen = {
        "all": np.ones(test.sum(), bool),
        "against innocent": kind[test] != GHOST,
        "against tissue": kind[test] != INNOCENT,
    }
    for lesion in ("lobulated", "spiculated", "distortion"):
        chosen[lesion] = ~ill[test] | (name[test] == lesion)
    for key, part in chosen.items():
        found[key] = interval(ill[test][part], score[part], patient[test][part])
        auc, low, high = found[key]
        print(f"  network, {key:20} {auc:.3f} [{low:.3f}, {high:.3f}]", flush=True)
    return found


if __name__ == "__main__":
    main()
