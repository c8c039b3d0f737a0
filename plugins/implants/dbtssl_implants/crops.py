"""Four crops of a spot: both slices clean, both with one object; clean and painted have the same decoys and noise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from dbtssl.api import normal
from dbtssl_implants.decoys import paint_decoys
from dbtssl_implants.jitter import cut_windows, windows
from dbtssl_implants.paint import paint
from dbtssl_implants.streams import NOISE
from dbtssl_implants.stretch import stretch

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbtssl.api import Batch
    from dbtssl_implants.decoys import Decoys
    from dbtssl_implants.objects import Objects
    from dbtssl_implants.stretch import Stretches

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
