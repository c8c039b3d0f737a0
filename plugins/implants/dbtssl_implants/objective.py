"""Find what was painted: presence of an object, its place, and crops told from their painted twins.

Our own. The clean crop and its painted twin differ by one generic object; the network says whether there is one (a
linear logit on the encoder's features), where (a logit for each place of the feature map), and in a contrastive term of
small weight the twin is a hard negative. Why it works, and where it does not, is in this plugin's README.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

from dbtssl.api import (
    Crop,
    Photometry,
    Step,
    ViewSpec,
    feature_std,
    gather,
    gather_with_gradient,
    normal,
    place_width,
    places_and_pooled,
    sync_batchnorm,
    uniform,
)
from dbtssl_implants.config import ImplantsConfig
from dbtssl_implants.decoys import draw_decoys, draw_stretches, paint_decoys, stretch
from dbtssl_implants.losses import nt_xent, presence_loss, twin_contrast, view_contrast
from dbtssl_implants.objects import NOISE, PLACES, WINDOWS, Draws, draw, paint

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbtssl.api import Batch
    from dbtssl_implants.decoys import Decoys, Stretches
    from dbtssl_implants.objects import Objects


VISIBLE = 0.5  # a crop shows an object if its mask reaches this anywhere


class Implants(nn.Module):
    """Presence, place and twin contrast on two slices of one spot, clean and painted: four crops a pair.

    Where the sampler's positive is of another volume, its crop shows another place: it is painted by itself, with the
    same object in focus, and such a pair takes no part in the twin contrast.
    """

    Config = ImplantsConfig

    visibility: torch.Tensor

    def __init__(self, encoder: nn.Module, config: ImplantsConfig) -> None:
        super().__init__()
        c = config
        width: Any = encoder.num_features
        self.network = sync_batchnorm(encoder)
        self.presence_head = nn.Linear(width, 1)
        local = place_width(encoder, (c.crop_size, c.crop_size))
        self.place_head = _mlp(local, c.hidden, 1)
        self.projection = _mlp(width, c.hidden, c.dim)
        self.weights = {"presence": c.presence, "place": c.place, "contrast": c.contrast}
        if c.across:
            self.weights["across"] = c.across
        if c.dense:
            self.weights["dense"] = c.dense
            self.dense_projection = _mlp(local, c.hidden, c.dim)
        self.temperature, self.hardest, self.easy = c.temperature, c.hardest, c.easy
        # a buffer, so that a checkpoint holds it
        self.register_buffer("visibility", torch.tensor(c.easy))
        self._crops = Crops(
            partial(draw, weights=c.kinds, radius=c.radius, amplitude=c.amplitude, p_dark=c.p_dark),
            partial(draw_decoys, share=c.decoys, radius=c.radius, amplitude=c.amplitude)
            if c.decoys
            else None,
            partial(draw_stretches, share=c.stretched, radius=c.radius) if c.stretched else None,
            height_mm=c.height_mm,
            slice_mm=c.slice_mm,
            noise=c.noise,
            smallest=c.smallest,
            flip=c.flip,
            size=c.crop_size,
        )
        crop = Crop(round(c.crop_size * c.margin), c.crop_scale, flip=0.0, min_tissue=c.min_tissue)
        light = Photometry(c.brightness, c.contrast_jitter, c.p_jitter)
        self.views = (
            ViewSpec("anchor", crop, light),
            ViewSpec("positive", crop, light, same_crop_as=ANCHOR),
        )

    def forward(self, batch: Batch) -> Step:
        """The weighted sum of the losses; each crop of a pair has a window of its own."""
        # 4B x 1 x S x S: clean, clean', painted, painted'
        images, masks = self._crops(batch, self.visibility)
        places, pooled = places_and_pooled(self.network, images)
        with torch.autocast(images.device.type, enabled=False):
            present = (masks.amax(dim=(1, 2, 3)) > VISIBLE).float()
            said = self.presence_head(pooled)[:, 0]
            presence = presence_loss(said, present, self.hardest)
            place = F.binary_cross_entropy_with_logits(
                self.place_head(places)[..., 0], _on_places(masks, places.shape[1])
            )
            z = self.projection(pooled)
            a, b, painted_a, painted_b = (gather_with_gradient(part) for part in z.chunk(CROPS))
            shown = present.bool().chunk(CROPS)
            same = batch.volume[ANCHOR] == batch.volume[POSITIVE]
            counts = gather(same & shown[2] & shown[3])
            twins = twin_contrast((a, b), (painted_a, painted_b), self.temperature, counts)
            losses = {"presence": presence, "place": place, "contrast": twins}
            if "across" in self.weights:
                losses["across"] = view_contrast(a, b, self.temperature, gather(~same))
            if "dense" in self.weights:
                losses["dense"] = self._dense(batch, places)
        loss = torch.stack([self.weights[name] * value for name, value in losses.items()]).sum()
        logs = {f"{name}_loss": value.detach() for name, value in losses.items()}
        right = ((said > 0) == (present > 0)).float().mean()
        return Step(loss, {**logs, "presence_right": right, "feature_std": feature_std(z)})

    def _dense(self, batch: Batch, places: torch.Tensor) -> torch.Tensor:
        """NT-Xent of matched places of the clean crops; each is a negative of all others of the batch."""
        seeds = batch.needed("seeds")[ANCHOR]
        crops = places.chunk(CROPS)  # the clean ones come first
        where = self._crops.windows(seeds, ANCHOR), self._crops.windows(seeds, POSITIVE)
        first, second, counts = matched_places(batch, (crops[ANCHOR], crops[POSITIVE]), where)
        a, b = (gather_with_gradient(self.dense_projection(x)) for x in (first, second))
        return nt_xent(a, b, self.temperature, gather(counts))

    def after_step(self, progress: float) -> None:
        """Let the contrast of what is painted fall towards its own range."""
        self.visibility.fill_(self.easy ** max(0.0, 1.0 - 2.0 * progress))

    def encoder(self) -> nn.Module:
        """The encoder without the heads."""
        return self.network

    def place(self) -> nn.Module:
        """The mask head: places ``(B, P, C)`` of the feature map to the logit of an object there, ``(B, P, 1)``."""
        return self.place_head

    def head(self) -> nn.Linear:
        """The presence head: a linear logit on the encoder's features, learnt without a label."""
        return self.presence_head


def _mlp(width: int, hidden: int, out: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, out))


def _on_places(masks: torch.Tensor, places: int) -> torch.Tensor:
    """The largest of a mask within each place of a square feature map, ``(n, places)``."""
    side = round(places**0.5)
    return F.adaptive_max_pool2d(masks, side).flatten(1)


ANCHOR, POSITIVE = 0, 1
CROPS = 4  # of a pair: both slices clean, both painted


@dataclass(frozen=True)
class Crops:
    """What is painted, how views are measured and how crops are cut; ``draw_decoys`` is None where there are none.

    Noise of SD ``noise`` comes last: what moves or blends tissue would smooth it and so be seen by its smoothness.
    """

    draw: Callable[[torch.Tensor, torch.Tensor], Objects]
    draw_decoys: Callable[[torch.Tensor, torch.Tensor], Decoys] | None
    draw_stretches: Callable[[torch.Tensor, torch.Tensor], Stretches] | None
    height_mm: float
    slice_mm: float
    noise: float
    smallest: float
    flip: float
    size: int

    @torch.no_grad()
    def __call__(
        self, batch: Batch, visibility: torch.Tensor | float = 1.0
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Crops and soft masks ``(4B, 1, S, S)``: both slices clean, then both painted.

        ``visibility`` is a factor of the contrasts that were drawn, of objects and decoys alike. All of it is float32,
        under autocast too: bf16 would read pixels up to 1.4 of them away.
        """
        with torch.autocast(batch.views[ANCHOR].device.type, enabled=False):
            return self._made(batch, visibility)

    def _made(
        self, batch: Batch, visibility: torch.Tensor | float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        seeds = batch.needed("seeds")[ANCHOR]
        objects = self.draw(batch.tissue[ANCHOR], seeds)
        objects = replace(objects, amplitude=objects.amplitude * visibility)
        decoys = self.draw_decoys(batch.tissue[ANCHOR], seeds) if self.draw_decoys else None
        if decoys is not None:
            decoys = replace(decoys, amplitude=decoys.amplitude * visibility)
        stretches = (
            self.draw_stretches(batch.tissue[ANCHOR], seeds) if self.draw_stretches else None
        )
        clean, painted, masks = [], [], []
        for view in (ANCHOR, POSITIVE):
            image, tissue = batch.views[view], batch.tissue[view]
            pixel = batch.needed("pixel")[view] * self.height_mm  # in slice heights before
            if stretches is not None:
                image = stretch(image, tissue, stretches, pixel)
            if decoys is not None:
                height = self._height(batch, view, decoys.depth)
                image = paint_decoys(image, tissue, decoys, pixel, height)
            height = self._height(batch, view, objects.depth)
            with_object, mask = paint(image, tissue, objects, pixel, height)
            noise = self.noise * normal(batch.needed("seeds")[view], NOISE, tuple(image.shape[1:]))
            clean.append((image + noise).clamp(0.0, 1.0))
            painted.append((with_object + noise).clamp(0.0, 1.0))
            masks.append(mask)
        images = torch.cat(clean + painted)
        shown = torch.cat([torch.zeros_like(m) for m in masks] + masks)
        where = torch.cat([self.windows(seeds, k) for k in range(CROPS)])
        both = cut_windows(torch.cat([images, shown], dim=1), where, self.size)
        return both[:, :1], both[:, 1:]

    def windows(self, seeds: torch.Tensor, crop: int) -> torch.Tensor:
        """Where in their views the crops of number ``crop`` lie, as `windows` gives it."""
        return windows(seeds, crop, self.smallest, self.flip)

    def _height(self, batch: Batch, view: int, depth: torch.Tensor) -> torch.Tensor:
        """How far a view lies above the anchor, mm, ``(B,)``; in another volume at the thing's own ``depth``."""
        z = batch.needed("z")
        away = (z[view] - z[ANCHOR]) * self.slice_mm
        return torch.where(batch.volume[view] != batch.volume[ANCHOR], depth, away.to(depth.dtype))


EACH = 4  # streams of one crop
SIDE, ROW, COLUMN, FLIP = WINDOWS[:EACH]


def windows(seeds: torch.Tensor, crop: int, smallest: float, flip: float) -> torch.Tensor:
    """Affine maps ``(n, 2, 3)`` for `cut_windows`, from ``seeds`` ``(n,)`` and the number of the ``crop`` alone.

    A window has a side of ``smallest`` to 1 of the view's, anywhere within it, and is mirrored along the columns with
    probability ``flip``.
    """

    def share(stream: int) -> torch.Tensor:
        return uniform(seeds, stream + EACH * crop)

    side = smallest + (1.0 - smallest) * share(SIDE)
    y, x = ((2.0 * share(axis) - 1.0) * (1.0 - side) for axis in (ROW, COLUMN))
    mirror = torch.where(share(FLIP) < flip, -1.0, 1.0)
    nothing = torch.zeros_like(side)
    top = torch.stack([side * mirror, nothing, x], dim=1)
    bottom = torch.stack([nothing, side, y], dim=1)
    return torch.stack([top, bottom], dim=1)


def cut_windows(images: torch.Tensor, where: torch.Tensor, size: int) -> torch.Tensor:
    """``images`` ``(n, C, S, S)`` in the windows ``where`` ``(n, 2, 3)``, as ``(n, C, size, size)``, bilinear."""
    shape = [len(images), images.shape[1], size, size]
    grid = F.affine_grid(where, shape, align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


GRID = 3  # rows and columns of a pair's places; of a map at stride 32, 224 pixels have 7
EACH_PLACE = GRID * GRID  # places of a pair


def matched_places(
    batch: Batch, maps: tuple[torch.Tensor, torch.Tensor], where: tuple[torch.Tensor, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features ``(n * EACH_PLACE, C)`` of the same tissue in both crops of each pair, and which of them count.

    ``maps`` ``(n, N, C)`` are the places of two square feature maps, of crops of the windows ``where`` ``(n, 2, 3)``
    of anchor and positive. What counts lies in both windows and in the tissue of both slices (air is the same
    everywhere), and its slices are of one volume.
    """
    points, counts = shared_places(where, batch.needed("seeds")[ANCHOR])
    counts = counts & (batch.volume[ANCHOR] == batch.volume[POSITIVE])[:, None]
    for view in (ANCHOR, POSITIVE):
        tissue = F.grid_sample(
            batch.tissue[view].float(), points[:, None], mode="nearest", align_corners=False
        )
        counts = counts & (tissue[:, 0, 0] > 0)
    first, second = (
        read_places(places, in_crop(points, window)).flatten(0, 1)
        for places, window in zip(maps, where, strict=True)
    )
    return first, second, counts.flatten()


def shared_places(
    where: tuple[torch.Tensor, torch.Tensor], seeds: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Points of the view ``(n, EACH_PLACE, 2)`` and whether they lie in both windows, ``(n, EACH_PLACE)``.

    One is drawn in each cell of a grid over what the windows share, so that they lie apart. Windows that share nothing
    have none.
    """
    half = [window[:, :, :2].abs().sum(dim=2) for window in where]  # n x 2: a window has no turn
    middle = [window[:, :, 2] for window in where]
    low = torch.maximum(middle[0] - half[0], middle[1] - half[1])
    high = torch.minimum(middle[0] + half[0], middle[1] + half[1])
    draws = Draws(seeds, PLACES)
    within = torch.stack([draws.between(0.0, 1.0, EACH_PLACE) for _ in PLACES], dim=2)
    number = torch.arange(EACH_PLACE, device=seeds.device)
    cell = torch.stack([number % GRID, number // GRID], dim=1)
    points = low[:, None] + (high - low)[:, None] * (cell + within) / GRID
    return points, (high > low).all(dim=1)[:, None].expand(-1, EACH_PLACE)


def in_crop(points: torch.Tensor, window: torch.Tensor) -> torch.Tensor:
    """Where points of the view ``(n, k, 2)`` lie in the crop of a ``window`` ``(n, 2, 3)``; undoes its map."""
    scale = window[:, :, :2].diagonal(dim1=1, dim2=2)  # n x 2, negative where mirrored
    return (points - window[:, None, :, 2]) / scale[:, None]


def read_places(places: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    """Bilinear values ``(n, k, C)`` of a square map ``(n, N, C)`` at ``(n, k, 2)``; its border goes on outside.

    As a product of matrices: the gradient of torch's `grid_sample` is not the same twice on a GPU.
    """
    side = round(places.shape[1] ** 0.5)
    cell = (((at + 1.0) * side - 1.0) / 2.0).clamp(0.0, side - 1.0)  # n x k x 2
    hat = F.relu(1.0 - (cell[..., None] - torch.arange(side, device=at.device)).abs())
    weights = hat[:, :, 1, :, None] * hat[:, :, 0, None, :]  # n x k x rows x columns
    return weights.flatten(2) @ places
