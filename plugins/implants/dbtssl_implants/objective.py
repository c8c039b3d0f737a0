"""Find what was painted: presence of an object, its place, and crops told from their painted twins.

Our own. The clean crop and its painted twin differ by one generic object; the network says whether there is one (a
linear logit on the encoder's features), where (a logit for each place of the feature map), and in a contrastive term of
small weight the twin is a hard negative. Why it works, and where it does not, is in this plugin's README.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field, field_validator
from torch import nn
from torch.nn import functional as F

from dbtssl.api import Config as BaseConfig
from dbtssl.api import (
    Crop,
    Photometry,
    PositiveRange,
    Shares,
    Step,
    ViewSpec,
    feature_std,
    gather,
    gather_with_gradient,
    place_width,
    places_and_pooled,
    sync_batchnorm,
)
from dbtssl_implants.across import view_contrast
from dbtssl_implants.crops import ANCHOR, CROPS, POSITIVE, Crops
from dbtssl_implants.decoys import draw_decoys
from dbtssl_implants.dense import matched_places
from dbtssl_implants.mining import presence_loss
from dbtssl_implants.nt_xent import nt_xent
from dbtssl_implants.objects import KINDS, PULLS, draw
from dbtssl_implants.stretch import draw_stretches
from dbtssl_implants.twins import twin_contrast

if TYPE_CHECKING:
    from dbtssl.api import Batch

Range = tuple[float, float]
VISIBLE = 0.5  # a crop shows an object if its mask reaches this anywhere


class Implants(nn.Module):
    """Presence, place and twin contrast on two slices of one spot, clean and painted: four crops a pair.

    Where the sampler's positive is of another volume, its crop shows another place: it is painted by itself, with the
    same object in focus, and such a pair takes no part in the twin contrast.
    """

    class Config(BaseConfig):
        """Sizes are mm in the breast; the defaults are those of the recipe study, but amplitudes are in tissue SDs."""

        presence: float = Field(default=1.0, ge=0, description="weight of the presence loss")
        place: float = Field(default=1.0, ge=0, description="weight of the mask loss")
        contrast: float = Field(default=0.2, ge=0, description="weight of the twin contrast")
        across: float = Field(
            default=0.0,
            ge=0,
            description="weight of the contrast of two volumes' clean crops, where the positive is of another volume",
        )
        dense: float = Field(
            default=0.0,
            ge=0,
            description="weight of the contrast of places: the same tissue in the clean crops of two slices of a "
            "volume",
        )
        temperature: float = Field(default=0.2, gt=0, description="of all contrasts")
        dim: int = Field(default=64, ge=1, description="size of the projected features")
        hidden: int = Field(default=128, ge=1, description="width of projection and mask head")
        kinds: tuple[float, float, float, float, float, float] = Field(
            default=(0.35, 0.35, 0.05, 0.1, 0.15, 0.0),
            description=f"how often each kind is painted: {', '.join(KINDS)}",
        )
        radius: PositiveRange = Field(
            default=(3.2, 14.0), description="smallest and largest radius, mm"
        )
        amplitude: PositiveRange = Field(
            default=(0.3, 2.0),
            description="least and most contrast, in SDs of the view's tissue, before noise",
        )
        easy: float = Field(
            default=1.0,
            ge=1,
            description="contrast of all that is painted at first, as a multiple; it falls to 1, evenly on a log "
            "scale, until half of the training is done",
        )
        p_dark: float = Field(default=0.15, ge=0, le=1, description="share darker than the tissue")
        decoys: float = Field(
            default=0.0,
            ge=0,
            le=1,
            description="share of spots with a harmless thing (cyst, node, vessel, calcifications) in all crops",
        )
        stretched: float = Field(
            default=0.0,
            ge=0,
            le=1,
            description="share of spots whose tissue is stretched along a line in all crops, which is harmless",
        )
        hardest: float = Field(
            default=1.0,
            gt=0,
            le=1,
            description="share of the crops without object, those of the highest loss, in the presence loss",
        )
        height_mm: float = Field(
            default=245.0, gt=0, description="mm along the rows of a whole slice (Hologic: 245)"
        )
        slice_mm: float = Field(
            default=1.0, gt=0, description="mm between slices; BCS-DBT's headers carry none"
        )
        crop_size: int = Field(default=224, ge=16, description="pixels of a crop that is seen")
        margin: float = Field(
            default=1.25, ge=1, le=2, description="side of the loaded view, in crops that are seen"
        )
        crop_scale: Shares = Field(
            default=(0.1, 0.4), description="share of the crop box's area in a loaded view"
        )
        smallest: float = Field(
            default=0.65, gt=0, le=1, description="smallest side of a crop, as a share of the view"
        )
        flip: float = Field(default=0.5, ge=0, le=1, description="probability of a flip")
        min_tissue: float = Field(
            default=0.3, ge=0, le=1, description="least tissue share of a view"
        )
        brightness: float = Field(default=0.25, ge=0, le=1, description="half width of the factor")
        contrast_jitter: float = Field(
            default=0.25, ge=0, le=1, description="half width of the contrast's factor"
        )
        p_jitter: float = Field(default=0.8, ge=0, le=1, description="probability of both together")
        noise: float = Field(
            default=0.02, ge=0, description="SD of noise, of the range, added after painting"
        )

        @field_validator("kinds")
        @classmethod
        def _weights(cls, value: tuple[float, ...]) -> tuple[float, ...]:
            if min(value) < 0 or sum(value) <= 0:
                raise ValueError(f"{len(KINDS)} numbers from 0, not all 0")
            return value

    visibility: torch.Tensor

    def __init__(
        self,
        encoder: nn.Module,
        *,
        presence: float,
        place: float,
        contrast: float,
        across: float,
        dense: float,
        temperature: float,
        dim: int,
        hidden: int,
        kinds: tuple[float, ...],
        radius: Range,
        amplitude: Range,
        easy: float,
        p_dark: float,
        decoys: float,
        stretched: float,
        hardest: float,
        height_mm: float,
        slice_mm: float,
        crop_size: int,
        margin: float,
        crop_scale: Range,
        smallest: float,
        flip: float,
        min_tissue: float,
        brightness: float,
        contrast_jitter: float,
        p_jitter: float,
        noise: float,
    ) -> None:
        super().__init__()
        width: Any = encoder.num_features
        self.network = sync_batchnorm(encoder)
        self.presence_head = nn.Linear(width, 1)
        local = place_width(encoder, (crop_size, crop_size))
        self.place_head = _mlp(local, hidden, 1)
        self.projection = _mlp(width, hidden, dim)
        self.weights = {"presence": presence, "place": place, "contrast": contrast}
        if across:
            self.weights["across"] = across
        if dense:
            self.weights["dense"] = dense
            self.dense_projection = _mlp(local, hidden, dim)
        self.temperature, self.hardest, self.easy = temperature, hardest, easy
        # a buffer, so that a checkpoint holds it
        self.register_buffer("visibility", torch.tensor(easy, dtype=torch.float64))
        self._crops = Crops(
            partial(draw, weights=kinds, radius=radius, amplitude=amplitude, p_dark=p_dark),
            partial(draw_decoys, share=decoys, radius=radius, amplitude=amplitude)
            if decoys
            else None,
            partial(draw_stretches, share=stretched, radius=radius, pull=PULLS)
            if stretched
            else None,
            height_mm=height_mm,
            slice_mm=slice_mm,
            noise=noise,
            smallest=smallest,
            flip=flip,
            size=crop_size,
        )
        crop = Crop(round(crop_size * margin), crop_scale, flip=0.0, min_tissue=min_tissue)
        light = Photometry(brightness, contrast_jitter, p_jitter)
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
