"""Where a method looked: strips of slice scores along z, and slices with the heat map of their patches."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup
from scipy.special import expit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dbtssl.report.html.content import Example, Profile

JPEG_QUALITY = 78  # of a slice some 220 pixels wide: about 8 kB
STRIP_HEIGHT = 15
HEAT = 48  # cells of a heat map along the longer side
HEAT_OPACITY = 0.62


def strip(profile: Profile, low: float, high: float) -> Markup:
    """One volume along z: a cell a slice, brighter with the score; the annotated range is bracketed, the top marked.

    ``low`` and ``high`` are the scores at the ends of the colours, shared by all strips.
    """
    n = len(profile.scores)
    fraction = np.clip((profile.scores - low) / max(high - low, 1e-12), 0, 1)
    image = _png(_cividis(fraction[None]))
    top = int(np.argmax(profile.scores))
    marks = [f'<rect class="top" x="{top}" y="0" width="1" height="{STRIP_HEIGHT}"/>']
    edges = np.flatnonzero(np.diff(np.r_[False, profile.abnormal, False].astype(int)))
    for start, stop in edges.reshape(-1, 2):
        marks.append(
            f'<path class="range" d="M{start} {STRIP_HEIGHT + 1}v4H{stop}v-4" vector-effect="non-scaling-stroke"/>'
        )
    label = f"slice scores of a volume of {n} slices, the highest at slice {profile.z[top] + 1}"
    return Markup(
        f'<svg class="strip" viewBox="0 0 {n} {STRIP_HEIGHT + 6}" preserveAspectRatio="none" role="img" '
        f'aria-label="{label}"><image href="{image}" width="{n}" height="{STRIP_HEIGHT}" '
        f'preserveAspectRatio="none" image-rendering="pixelated"/>{"".join(marks)}</svg>'
    )


def score_range(profiles: Sequence[Profile]) -> tuple[float, float]:
    """The scores between which strips are coloured: their 1 and 99 % points."""
    scores = np.concatenate([p.scores for p in profiles])
    low, high = np.quantile(scores, [0.01, 0.99])
    return float(low), float(high)


def plain_slice(example: Example) -> Markup:
    """The slice with its boxes."""
    return _slice(example, "")


def heat_slice(example: Example) -> Markup:
    """The slice under the heat map of its patches: at each place the mean probability of the patches that cover it."""
    rows, columns = example.image.shape
    size = example.patch_size * example.scale
    heat = _png(heat_map(example))
    top = example.corners[int(np.argmax(example.logits))] * example.scale
    overlay = (
        f'<image href="{heat}" width="{columns}" height="{rows}" preserveAspectRatio="none" '
        f'image-rendering="optimizeQuality"/>'
        f'<rect class="patch" x="{top[1]:.1f}" y="{top[0]:.1f}" width="{size:.1f}" height="{size:.1f}"/>'
    )
    return _slice(example, overlay)


def heat_map(example: Example) -> NDArray[np.uint8]:
    """RGBA cells ``(h, w, 4)``: the mean probability of the patches over a cell; clear if there is none."""
    rows, columns = example.image.shape
    cell = max(rows, columns) / HEAT / example.scale  # stored pixels
    shape = (
        int(np.ceil(rows / example.scale / cell)),
        int(np.ceil(columns / example.scale / cell)),
    )
    y = (np.arange(shape[0]) + 0.5)[:, None] * cell
    x = (np.arange(shape[1]) + 0.5)[None] * cell
    total, count = np.zeros(shape), np.zeros(shape)
    for (top, left), p in zip(example.corners, expit(example.logits), strict=True):
        over = (y >= top) & (y < top + example.patch_size)
        over = over & (x >= left) & (x < left + example.patch_size)
        total[over] += p
        count[over] += 1
    out = _cividis(np.divide(total, count, out=np.zeros(shape), where=count > 0), "inferno")
    out[..., 3] = np.where(count > 0, round(255 * HEAT_OPACITY), 0)
    return out


def _slice(example: Example, overlay: str) -> Markup:
    rows, columns = example.image.shape
    boxes = "".join(
        f'<rect class="box" x="{x * example.scale:.1f}" y="{y * example.scale:.1f}" '
        f'width="{w * example.scale:.1f}" height="{h * example.scale:.1f}"/>'
        for x, y, w, h in example.boxes
    )
    label = f"slice {example.z + 1} of {example.n_slices}" + (
        ", with the heat map of its patches" if overlay else ""
    )
    return Markup(
        f'<svg class="slice" viewBox="0 0 {columns} {rows}" role="img" aria-label="{label}">'
        f'<image href="{_jpeg(example.image)}" width="{columns}" height="{rows}"/>{overlay}{boxes}</svg>'
    )


def _cividis(fraction: NDArray[np.float64], name: str = "cividis") -> NDArray[np.uint8]:
    import matplotlib as mpl

    colours: NDArray[np.uint8] = mpl.colormaps[name](fraction, bytes=True)
    return colours


def _png(pixels: NDArray[np.uint8]) -> str:
    return _data(pixels, "png")


def _jpeg(pixels: NDArray[np.uint8]) -> str:
    return _data(pixels, "jpeg", quality=JPEG_QUALITY, optimize=True)


def _data(pixels: NDArray[np.uint8], kind: str, **options: object) -> str:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format=kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(out.getvalue()).decode()}"
