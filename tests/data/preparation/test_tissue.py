from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from PIL import Image

from dbtssl.data.preparation.prepare_volume import tissue_mask
from dbtssl.data.prepared.display import apply_window
from dbtssl.data.records import Rect, Window
from dbtssl.errors import DataError
from dbtssl.phantom.cohort.phantom_cohort import grid_of, plan
from dbtssl.phantom.imaging.anatomy import Slab
from dbtssl.phantom.imaging.render import render
from dbtssl.phantom.model.phantom_config import PhantomConfig

BCS = Window(256.0, 768.0)


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


def shown_mean(frames):
    return np.mean(apply_window(frames, BCS), axis=0)


def test_window_is_linear_and_clipped():
    raw = np.array([0, 256, 384, 512, 768, 1023], dtype=np.uint16)
    shown = apply_window(raw, BCS)
    assert shown.dtype == np.float32
    assert shown.tolist() == [0, 0, 0.25, 0.5, 1, 1]


@pytest.mark.parametrize("rule", ["otsu-root", "otsu"])
def test_a_plain_breast(make_breast, rule):
    frames, truth = make_breast(n=8)
    mask = tissue_mask(shown_mean(frames), rule)
    assert mask.shape == truth.shape
    assert iou(mask, truth) > 0.98
    assert np.abs(np.subtract(Rect.around(mask), Rect.around(truth))).max() <= 1


def test_a_bright_implant_does_not_hide_the_breast(make_breast):
    frames, truth = make_breast(n=8)
    frames[:, 50:80, :30] = 1023
    assert iou(tissue_mask(shown_mean(frames), "otsu-root"), truth) > 0.98
    assert iou(tissue_mask(shown_mean(frames), "otsu"), truth) < 0.5


def test_the_largest_part_is_kept_and_its_holes_are_filled(make_breast):
    frames, truth = make_breast(n=8)
    frames[:, 60:66, 20:26] = 0  # a hole
    frames[:, 140:148, :20] = 500  # an arm, apart from the breast
    mask = tissue_mask(shown_mean(frames))
    assert mask[60:66, 20:26].all()
    assert not mask[140:148].any()
    assert iou(mask, truth) > 0.98


@pytest.mark.parametrize("level", [0.0, 0.5])
def test_an_even_volume_has_no_tissue(level):
    with pytest.raises(DataError, match=f"no tissue: every pixel of the volume shows as {level:g}"):
        tissue_mask(np.full((20, 30), level))


def test_real_slices(real):
    """Against what is not black: the background of BCS-DBT shows as 0."""
    plain = []
    with (real / "slices" / "manifest.csv").open(newline="") as f:
        rows = list(csv.DictReader(f))
    for row in rows:
        with Image.open(real / "slices" / row["file"]) as image:
            full = np.asarray(image.convert("L"))
        shown = full[::4, ::4].astype(np.float32) / 255
        mask = tissue_mask(shown)
        bright = shown > 0.02
        assert iou(mask, bright) > 0.98, row["file"]
        plain.append(iou(tissue_mask(shown, "otsu"), bright))
        if row["X"]:
            x, y, w, h = (int(float(row[k])) // 4 for k in ("X", "Y", "Width", "Height"))
            assert mask[y : y + h, x : x + w].mean() > 0.95, row["file"]
    assert min(plain) < 0.2  # why it is not the default


@pytest.mark.parametrize("view", ["lcc", "rmlo"])
def test_the_phantom_silhouette(view):
    """The crop box too is within a pixel of the truth, where anything attenuates."""
    config = PhantomConfig(patients=1, seed=1, rows=192)
    volume = next(v for v in plan(config) if v.view == view)
    grid, shape = grid_of(config, volume.breast, volume.positioning)
    slab = Slab(volume.breast, None, shape, grid)
    tissue = torch.stack([slab.attenuation(k) for k in range(grid.n_slices)]).amax(0) > 0.02
    truth = np.zeros((len(grid.v()), grid.columns), dtype=bool)
    truth[slab.rows, slab.columns] = tissue.numpy()
    margin = (len(truth) - grid.rows) // 2  # rows beyond the detector
    truth = truth[margin : margin + grid.rows]
    if view[0] == "r":
        truth = truth[:, ::-1]
    mask = tissue_mask(shown_mean(render(config, volume)[0]))
    assert iou(mask, truth) > 0.98
    assert np.abs(np.subtract(Rect.around(mask), Rect.around(truth))).max() <= 1
