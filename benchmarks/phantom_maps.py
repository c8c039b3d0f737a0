"""Maps of a slice whose highest spots may be lesions: of grey levels, of a filter, of a network's heads."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

from dbtssl.errors import ConfigError
from dbtssl.nn.feature_map import places_and_pooled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray
    from torch import nn

    from dbtssl.nn.classifier import PatchClassifier

    Image = NDArray[np.float32]
    Mask = NDArray[np.bool_]
    Map = NDArray[np.float64]
    Mapper = Callable[[Image, Mask, float], Map]

STEP = 8.0  # mm between places of a map, a tenth of a patch
BLOB_RADII = np.geomspace(3.0, 12.0, 5)  # mm
BATCH_PIXELS = 2**21


def filled(image: NDArray[np.floating], mask: Mask) -> Map:
    """``image`` with the nearest pixel of ``mask`` outside it, so that a filter sees no edge of the breast."""
    nearest = ndimage.distance_transform_edt(~mask, return_distances=False, return_indices=True)
    return np.asarray(image[tuple(nearest)], dtype=np.float64)


def brightness(image: Image, mask: Mask, pixel: float, *, sigma: float) -> Map:
    """Grey level, smoothed by a Gaussian of ``sigma`` mm."""
    return np.asarray(ndimage.gaussian_filter(filled(image, mask), sigma / pixel))


def blob(image: Image, mask: Mask, pixel: float, *, radii: Iterable[float] = BLOB_RADII) -> Map:
    """Scale-normalised Laplacian of Gaussian, the most over ``radii`` mm, r = sqrt(2) sigma (Lindeberg 1998)."""
    whole = filled(image, mask)
    sigmas = [r / np.sqrt(2) / pixel for r in radii]
    return np.asarray(
        np.max([-(s**2) * ndimage.gaussian_laplace(whole, s) for s in sigmas], axis=0)
    )


def cam(
    image: Image, mask: Mask, pixel: float, *, model: PatchClassifier, size: int, scale: float
) -> Map:
    """The linear head at each place of the last feature map, its grid refined by shifting the slice (`cam_grid`)."""
    step = _step(pixel, scale)
    return _enlarged(image, mask, scale, lambda x, _: cam_grid(model, x, size, step))


def places(
    image: Image,
    mask: Mask,
    pixel: float,
    *,
    model: PatchClassifier,
    place: nn.Module,
    size: int,
    scale: float,
) -> Map:
    """The head that learnt where objects were painted, at each place of the last feature map."""
    step = _step(pixel, scale)
    return _enlarged(
        image, mask, scale, lambda x, _: place_grid(model.encoder, place, x, size, step)
    )


def windows(
    image: Image, mask: Mask, pixel: float, *, model: PatchClassifier, size: int, scale: float
) -> Map:
    """The logit of the patch round each place."""
    step = _step(pixel, scale)
    return _enlarged(image, mask, scale, lambda x, m: windows_grid(model, x, m, size, step))


def _step(pixel: float, scale: float) -> int:
    return max(1, round(STEP * scale / pixel))


def _enlarged(
    image: Image,
    mask: Mask,
    scale: float,
    grid: Callable[[torch.Tensor, Mask], tuple[Map, float, float]],
) -> Map:
    """A coarse map of the enlarged slice, ``(values, first, step)``, read at the pixels of ``image``."""
    whole = torch.from_numpy(np.ascontiguousarray(image))[None, None]
    if scale != 1:
        shape = [round(scale * n) for n in image.shape]
        whole = F.interpolate(whole, size=shape, mode="bilinear", align_corners=False)
    rows, columns = (
        np.minimum(((np.arange(m) + 0.5) * n / m).astype(int), n - 1)
        for n, m in zip(image.shape, whole.shape[2:], strict=True)
    )
    with torch.inference_mode():
        values, first, step = grid(whole, mask[np.ix_(rows, columns)])
    lines = [
        ((np.arange(n) + 0.5) * m / n - 0.5 - first) / step
        for n, m in zip(image.shape, whole.shape[2:], strict=True)
    ]
    at = np.meshgrid(*lines, indexing="ij")
    return np.asarray(ndimage.map_coordinates(values, at, order=1, mode="nearest"))


def mirrored(image: torch.Tensor, rows: tuple[int, int], columns: tuple[int, int]) -> torch.Tensor:
    """``image`` ``(1, 1, rows, columns)`` continued by its mirror images, pixels before and after.

    With air beyond the chest wall its edge would be in the middle of a patch, where training never showed one, and it
    is what the head then finds.
    """
    padded = np.pad(image[0, 0].numpy(), (rows, columns), mode="symmetric")
    return torch.from_numpy(padded)[None, None]


def windows_grid(
    model: PatchClassifier, image: torch.Tensor, mask: Mask, size: int, step: int
) -> tuple[Map, float, float]:
    """Logits of the patches of ``size`` round places ``step`` apart: values, row and column of the first, step.

    ``image`` is ``(1, 1, rows, columns)`` and `mirrored` beyond its edges. Only places within ``step`` of ``mask`` are
    asked; others have the value of the nearest.
    """
    pad = size // 2
    counts = [-(-n // step) for n in image.shape[2:]]
    rows, columns = (size + step * (n - 1) for n in counts)
    right, below = columns - image.shape[3] - pad, rows - image.shape[2] - pad
    whole = mirrored(image, (pad, below), (pad, right))
    asked = ndimage.maximum_filter(mask, 2 * step + 1)[::step, ::step]
    views = (
        whole[0, 0].unfold(0, size, step).unfold(1, size, step)[torch.from_numpy(asked)][:, None]
    )
    parts = torch.split(views, max(1, BATCH_PIXELS // size**2))
    logits = torch.cat([model(part) for part in parts])
    values = np.zeros(asked.shape)
    values[asked] = logits.double().numpy()
    return filled(values, asked), (size - 1) / 2 - pad, step


def cam_grid(
    model: PatchClassifier, image: torch.Tensor, size: int, step: int
) -> tuple[Map, float, float]:
    """The presence head at each place of the feature map, as `place_grid` gives it.

    The mean of the values over the places of a patch is the patch's logit where the encoder ends in a mean (Zhou et
    al. 2016, equations 1 and 2); another one is refused.
    """
    here, pooled = places_and_pooled(model.encoder, image)
    if not torch.allclose(here.mean(1), pooled, rtol=1e-3, atol=1e-5):
        raise ConfigError(
            "the encoder's features are not the mean of its feature map, so the head has no value at a place",
            hint="take --map windows",
        )
    return place_grid(model.encoder, model.head, image, size, step)


def place_grid(
    encoder: nn.Module, head: nn.Module, image: torch.Tensor, size: int, step: int
) -> tuple[Map, float, float]:
    """``head`` at each place of the feature map: values, row and column of the first, step.

    The slice is shifted by less than the pitch of the map to get places in between, about ``step`` apart. The places
    of a map lie symmetric in its image.
    """
    pitch = _pitch(encoder, size)
    shifts = max(1, round(pitch / step))
    while pitch % shifts:
        shifts += 1
    step = pitch // shifts
    pad = size // 2
    sides = [size + pitch * -(-n // pitch) for n in image.shape[2:]]
    right, below = (
        m + pitch - n - pad for m, n in zip(sides[::-1], image.shape[:1:-1], strict=True)
    )
    whole = mirrored(image, (pad, below), (pad, right))
    parts: dict[tuple[int, int], torch.Tensor] = {}
    for dy in range(shifts):
        for dx in range(shifts):
            y, x = dy * step, dx * step
            features, _ = places_and_pooled(
                encoder, whole[:, :, y : y + sides[0], x : x + sides[1]]
            )
            counts = [(side - size) // pitch + _places(encoder, size) for side in sides]
            parts[dy, dx] = head(features)[0, :, 0].view(*counts)
    out = torch.zeros([shifts * n for n in counts], dtype=torch.float64)
    for (dy, dx), part in parts.items():
        out[dy::shifts, dx::shifts] = part
    first = (sides[0] - 1) / 2 - (counts[0] - 1) / 2 * pitch - pad
    return out.numpy(), first, step


def _places(encoder: torch.nn.Module, size: int) -> int:
    places, _ = places_and_pooled(encoder, torch.zeros(1, 1, size, size))
    return math.isqrt(places.shape[1])


def _pitch(encoder: torch.nn.Module, size: int) -> int:
    """Pixels between neighbouring places of the feature map."""
    return round(size / (_places(encoder, 2 * size) - _places(encoder, size)))


def head_maps(
    model: PatchClassifier,
    place: nn.Module | None,
    size: int,
    kind: str,
    scales: Sequence[float],
) -> dict[str, Mapper]:
    """The maps of ``kind``, by name; ``auto`` are those of places (of presence where ``place`` is None) and of windows.

    `ConfigError` for places without a head of places.
    """
    kinds: dict[str, Callable[..., Map]] = {"cam": cam, "windows": windows}
    if place is not None:
        kinds["places"] = partial(places, place=place)
    elif kind == "places":
        raise ConfigError(
            "the pretraining of this row left no head of places",
            hint="take --map cam or --map windows",
        )
    asked = ("cam" if place is None else "places", "windows") if kind == "auto" else (kind,)
    return {
        f"{name} x {scale:g}": partial(kinds[name], model=model, size=size, scale=scale)
        for name in asked
        for scale in scales
    }
