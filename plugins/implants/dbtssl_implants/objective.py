"""Find what was painted: presence of an object, its place, and crops told from their painted twins.

Our own. The clean crop and its painted twin differ by one generic object; the network says whether there is one (a
linear logit on the encoder's features), where (a logit for each place of the feature map), and in a contrastive term of
small weight the twin is a hard negative. Why it works, and where it does not, is in this plugin's README.
"""

from __future__ import annotations

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
    config_of,
    feature_std,
    gather,
    gather_with_gradient,
    place_width,
    places_and_pooled,
    sync_batchnorm,
)
from dbtssl_implants.across import view_contrast
from dbtssl_implants.config import ImplantsConfig
from dbtssl_implants.crops import ANCHOR, CROPS, POSITIVE, Crops
from dbtssl_implants.decoys import draw_decoys
from dbtssl_implants.dense import matched_places
from dbtssl_implants.mining import presence_loss
from dbtssl_implants.nt_xent import nt_xent
from dbtssl_implants.objects import draw
from dbtssl_implants.stretch import draw_stretches
from dbtssl_implants.twins import twin_contrast

if TYPE_CHECKING:
    from dbtssl.api import Batch

VISIBLE = 0.5  # a crop shows an object if its mask reaches this anywhere


class Implants(nn.Module):
    """Presence, place and twin contrast on two slices of one spot, clean and painted: four crops a pair.

    Where the sampler's positive is of another volume, its crop shows another place: it is painted by itself, with the
    same object in focus, and such a pair takes no part in the twin contrast.
    """

    Config = ImplantsConfig

    visibility: torch.Tensor

    def __init__(self, encoder: nn.Module, **config: Any) -> None:
        super().__init__()
        c = config_of(self.Config, config)
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
