"""Geometry of views, in the loader's workers: a random resized crop with enough tissue, flip, rotation, resizing.

Slices are ragged, so the crop is drawn on the slice's own grid, inside the volume's crop box, and only its rectangle
is read. Everything stays float at full bit depth. A crop is resized with anti-aliasing by Pillow (mode ``F``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from dbtssl.data.records import Rect, SliceRef
from dbtssl.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.random import Generator
    from numpy.typing import NDArray

    from dbtssl.data.prepared.prepared_dataset import Slices
    from dbtssl.interfaces import Crop, ViewSpec

BILINEAR, NEAREST = Image.Resampling.BILINEAR, Image.Resampling.NEAREST


@dataclass(frozen=True)
class Place:
    """Where a view lies: a rectangle of the slice, then a flip along the columns, then a turn in degrees.

    A positive ``angle`` turns the image counter-clockwise.
    """

    rect: Rect
    flip: bool
    angle: float


def check_views(views: Sequence[ViewSpec]) -> None:
    """Refuse views that cannot be made: none at all, or one at the place of a view that does not come before it."""
    if not views:
        raise ConfigError("an objective declares no views", hint="give it at least one ViewSpec")
    for i, view in enumerate(views):
        if view.same_crop_as is not None and not 0 <= view.same_crop_as < i:
            raise ConfigError(
                f"view {i}: same_crop_as is {view.same_crop_as}, expected a view before it",
                hint="views are made in the order in which they are declared, from 0",
            )


def draw_places(
    views: Sequence[ViewSpec], anchor: SliceRef, positive: SliceRef, slices: Slices, rng: Generator
) -> list[Place]:
    """Draw the place of every view.

    A view with ``same_crop_as`` takes flip and turn over as well, so that equal pixels show equal places; in another
    volume the rectangle keeps its position relative to the crop box.
    """
    places: list[Place] = []
    for view in views:
        ref = anchor if view.of == "anchor" else positive
        if view.same_crop_as is None:
            places.append(draw_place(view.crop, ref.volume, slices, rng))
            continue
        twin = views[view.same_crop_as]
        twin_volume = (anchor if twin.of == "anchor" else positive).volume
        place = places[view.same_crop_as]
        if twin_volume != ref.volume:
            rect = _carry(place.rect, bounds(twin_volume, slices), bounds(ref.volume, slices))
            place = Place(rect, place.flip, place.angle)
        places.append(place)
    return places


def draw_place(crop: Crop, volume: int, slices: Slices, rng: Generator) -> Place:
    """Draw where a crop of ``volume`` lies: the first of some rectangles that holds enough tissue, else the best."""
    rect = draw_rect(crop, volume, slices, rng)
    flip = bool(rng.random() < crop.flip)
    turned = bool(rng.random() < crop.p_rotation)
    angle = float(rng.uniform(-crop.rotation, crop.rotation)) if turned else 0.0
    return Place(rect, flip, angle)


def draw_rect(crop: Crop, volume: int, slices: Slices, rng: Generator) -> Rect:
    """Draw a rectangle of area fraction ``crop.scale`` and aspect ratio ``crop.ratio`` inside the volume's crop box.

    The area is uniform and the ratio of width to height log-uniform, as in torchvision. Of at most ``crop.tries``
    rectangles that fit, the first with a tissue fraction of ``crop.min_tissue`` is taken, else the one with the most.
    Where none fits, it is the largest in the middle whose ratio is allowed.
    """
    box = bounds(volume, slices)
    rows, columns = box.y1 - box.y0, box.x1 - box.x0
    best, most = _middle(box, crop.ratio), -1.0
    for _ in range(crop.tries):
        area = rows * columns * rng.uniform(*crop.scale)
        ratio = math.exp(rng.uniform(math.log(crop.ratio[0]), math.log(crop.ratio[1])))
        height, width = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if not (0 < height <= rows and 0 < width <= columns):
            continue
        y = box.y0 + int(rng.integers(rows - height + 1))
        x = box.x0 + int(rng.integers(columns - width + 1))
        rect = Rect(y, x, y + height, x + width)
        fraction = float(slices.tissue(volume, rect).mean())
        if fraction >= crop.min_tissue:
            return rect
        if fraction > most:
            best, most = rect, fraction
    return best


def bounds(volume: int, slices: Slices) -> Rect:
    """The volume's crop box (Otsu), or the whole slice where it has none."""
    record = slices.cohort[volume]
    box = record.crop
    if box.y1 > box.y0 and box.x1 > box.x0:
        return box
    return Rect(0, 0, record.rows, record.columns)


def cut(
    place: Place, shape: tuple[int, int], ref: SliceRef, slices: Slices
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The image in [0, 1] at ``place`` and its tissue, of ``shape``; 0 and false where a turn uncovers a corner."""
    image = _fit(Image.fromarray(slices.read(ref, place.rect)), shape, place, BILINEAR)
    mask = slices.tissue(ref.volume, place.rect).view(np.uint8) * np.uint8(255)
    tissue = _fit(Image.fromarray(mask), shape, place, NEAREST)
    return np.asarray(image, dtype=np.float32), np.asarray(tissue) >= 128


def pixel_size(place: Place, shape: tuple[int, int], rows: int) -> tuple[float, float]:
    """Height and width of a pixel of the view, in heights of its slice, which has ``rows`` pixels."""
    rect = place.rect
    return (rect.y1 - rect.y0) / (shape[0] * rows), (rect.x1 - rect.x0) / (shape[1] * rows)


def _fit(
    image: Image.Image, shape: tuple[int, int], place: Place, turn: Image.Resampling
) -> Image.Image:
    rows, columns = shape
    image = image.resize((columns, rows), BILINEAR)
    if place.flip:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return image.rotate(place.angle, turn) if place.angle else image


def _middle(box: Rect, ratio: tuple[float, float]) -> Rect:
    rows, columns = box.y1 - box.y0, box.x1 - box.x0
    width = min(columns, round(rows * ratio[1]))
    height = min(rows, round(columns / ratio[0]))
    y, x = box.y0 + (rows - height) // 2, box.x0 + (columns - width) // 2
    return Rect(y, x, y + height, x + width)


def _carry(rect: Rect, old: Rect, new: Rect) -> Rect:
    """``rect`` of the box ``old`` at the same relative position of the box ``new``, at least a pixel large."""
    y0, y1 = _carry_range(rect.y0, rect.y1, (old.y0, old.y1), (new.y0, new.y1))
    x0, x1 = _carry_range(rect.x0, rect.x1, (old.x0, old.x1), (new.x0, new.x1))
    return Rect(y0, x0, y1, x1)


def _carry_range(
    low: int, high: int, old: tuple[int, int], new: tuple[int, int]
) -> tuple[int, int]:
    scale = (new[1] - new[0]) / (old[1] - old[0])
    first = min(new[0] + round((low - old[0]) * scale), new[1] - 1)
    return first, max(first + 1, new[0] + round((high - old[0]) * scale))
