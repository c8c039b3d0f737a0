"""What an objective sees: crops and their grey levels as it declares them, batches as it gets them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from dbtssl.errors import PluginError
from dbtssl.interfaces.interface_checks import one_of, rising, whole, within

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch


@dataclass(frozen=True)
class Crop:
    """A random resized crop: area share ``scale`` and aspect ratio ``ratio``, resized to ``size`` pixels.

    ``size`` is a square's side or ``(rows, columns)``; ``ratio`` is of width to height on the slice, whatever ``size``.
    ``flip`` is the probability of a flip along the columns, ``rotation`` the largest turn in degrees and
    ``p_rotation`` its probability. ``min_tissue`` is the least share of tissue in the crop: of at most ``tries``
    rectangles the first with so much is taken, else the one with the most.
    """

    size: int | tuple[int, int]
    scale: tuple[float, float] = (0.2, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    rotation: float = 0.0
    p_rotation: float = 0.0
    min_tissue: float = 0.01
    tries: int = 10  # as in torchvision's RandomResizedCrop

    def __post_init__(self) -> None:
        sides = self.size if isinstance(self.size, tuple) else (self.size, self.size)
        if len(sides) != 2:
            raise PluginError(
                f"Crop: size is {self.size!r}, expected a side or (rows, columns), in pixels",
                hint="a square view of 224 pixels is Crop(224)",
            )
        for side in sides:
            whole("Crop", "size", side, 1)
        whole("Crop", "tries", self.tries, 1)
        rising("Crop", "scale", self.scale, above=0.0, most=1.0, what="shares of an area")
        rising("Crop", "ratio", self.ratio, above=0.0)
        within("Crop", "rotation", self.rotation, 0.0, 180.0, "degrees")
        for name in ("flip", "p_rotation"):
            within("Crop", name, getattr(self, name), 0.0, 1.0, "a probability; 0.5 is 50 %")
        within("Crop", "min_tissue", self.min_tissue, 0.0, 1.0, "a share; 0.01 is 1 %")

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the view."""
        return self.size if isinstance(self.size, tuple) else (self.size, self.size)


@dataclass(frozen=True)
class Photometry:
    """Random changes of grey level, drawn for each view: probabilities and strengths.

    ``brightness`` and ``contrast`` are the half widths of a factor about 1 (applied together with probability
    ``p_jitter``); ``blur`` is the range of the Gaussian's sigma in pixels; ``noise`` is the standard deviation of
    additive noise in units of the display range.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    p_jitter: float = 0.8
    blur: tuple[float, float] = (0.1, 2.0)
    p_blur: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast"):
            within("Photometry", name, getattr(self, name), 0.0, 1.0, "half width of a factor")
        for name in ("p_jitter", "p_blur"):
            within("Photometry", name, getattr(self, name), 0.0, 1.0, "a probability; 0.5 is 50 %")
        rising("Photometry", "blur", self.blur, least=0.0)
        within("Photometry", "noise", self.noise, 0.0, 1.0, "in units of the display range")


@dataclass(frozen=True)
class ViewSpec:
    """One view that an objective asks for: a crop of the anchor slice or of its positive.

    ``same_crop_as`` names another view by its position; both then show the same place.
    """

    of: Literal["anchor", "positive"]
    crop: Crop
    photometry: Photometry = Photometry()
    same_crop_as: int | None = None

    def __post_init__(self) -> None:
        one_of("ViewSpec", "of", self.of, ("anchor", "positive"))
        for name, kind in (("crop", Crop), ("photometry", Photometry)):
            if not isinstance(getattr(self, name), kind):
                raise PluginError(
                    f"ViewSpec: {name} is {getattr(self, name)!r}, expected a {kind.__name__}",
                    hint="a view is ViewSpec('anchor', Crop(224), Photometry())",
                )
        if self.same_crop_as is not None:
            whole("ViewSpec", "same_crop_as", self.same_crop_as, 0)


@dataclass(frozen=True)
class Batch:
    """What an objective sees. ``views[v]`` and ``tissue[v]`` are ``(B, 1, rows, columns)``; ids are ``(B,)`` integers.

    Views are float in [0, 1]; tissue is bool. The ids let an objective leave out false negatives:
    ``volume[v]``, ``breast[v]`` and ``patient[v]`` say where the rows of view ``v`` come from. ``seeds[v]`` is for the
    objective's own random numbers (`uniform`), which then depend on the sample alone, not on its place in the batch.
    ``z[v]`` ``(B,)`` is the slice within its volume, and ``pixel[v]`` ``(B, 2)`` the height and width of a view's
    pixel, both in heights of a whole slice, so that an objective can think in millimetres.
    """

    views: tuple[torch.Tensor, ...]
    tissue: tuple[torch.Tensor, ...]
    volume: tuple[torch.Tensor, ...]
    breast: tuple[torch.Tensor, ...]
    patient: tuple[torch.Tensor, ...]
    seeds: tuple[torch.Tensor, ...] = ()
    z: tuple[torch.Tensor, ...] = ()
    pixel: tuple[torch.Tensor, ...] = ()

    def needed(self, name: Literal["seeds", "z", "pixel"]) -> tuple[torch.Tensor, ...]:
        """The part ``name``, one tensor a view; `PluginError` where who made the batch left it out."""
        part: tuple[torch.Tensor, ...] = getattr(self, name)
        if len(part) != len(self.views):
            raise PluginError(
                f"this objective reads Batch.{name}, got {len(part)} of it, expected {len(self.views)}, one a view",
                hint=f"give Batch {name}=(...); the batches of pretrain have it",
            )
        return part


@dataclass(frozen=True)
class Step:
    """What an objective gives back: the loss (a scalar) and named scalars for the log."""

    loss: torch.Tensor
    logs: Mapping[str, float | torch.Tensor] = field(default_factory=dict)
