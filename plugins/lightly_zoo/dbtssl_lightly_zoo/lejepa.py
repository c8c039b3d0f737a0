"""LeJEPA (Balestriero and LeCun, Provable and Scalable Self-Supervised Learning Without the Heuristics, 2511.08544)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field
from torch import nn

from dbtssl.api import PluginError, Projected, Shares, Step, feature_std, full_precision
from dbtssl_lightly_zoo.views import MultiCropConfig, by_size, check_sizes, multi_crop

if TYPE_CHECKING:
    from dbtssl.api import Batch

GLOBAL = 2  # views whose mean is the place that all views are drawn to


class LeJEPA(nn.Module):
    """All views are drawn to the mean of the global ones; SIGReg spreads them as an isotropic Gaussian.

    SIGReg is the Epps-Pulley statistic of random projections against the standard normal distribution: no teacher, no
    stop-gradient, no schedule. lightly's `LeJEPALoss` is not used as a whole: up to 1.5.25 it drew local views alone.
    """

    class Config(MultiCropConfig):
        """Views of the authors' README, weight of their scripts, grid and directions of both; head of lightly.

        ``dim`` is lightly's: the authors' scripts have 512, their `MINIMAL.md` 16, with a weight of 0.02. That example,
        whose views are all of one size, draws them to the mean of all.
        """

        crop_scale: Shares = Field(
            default=(0.3, 1.0), description="share of the crop box's area in a global crop"
        )
        local_size: int = Field(default=98, ge=8, description="pixels of a local view")
        local_scale: Shares = Field(
            default=(0.05, 0.3), description="share of the crop box's area in a local crop"
        )

        dim: int = Field(default=64, ge=1, description="size of the projected features")
        hidden: int = Field(default=2048, ge=1, description="width of the projection head")
        sigreg: float = Field(
            default=0.05, ge=0, le=1, description="share of SIGReg in the loss (lambda)"
        )
        projections: int = Field(default=1024, ge=1, description="random directions in a step")
        knots: int = Field(default=17, ge=2, description="points of the integration grid")
        t_max: float = Field(default=3.0, gt=0, description="highest frequency of the grid")

    def __init__(self, encoder: nn.Module, config: Config) -> None:
        super().__init__()
        try:
            from lightly.loss import SIGReg
        except ImportError:
            raise PluginError(
                "objective lejepa needs SIGReg of lightly 1.5.24 or newer, and this one is older",
                hint="pip install --upgrade lightly",
            ) from None
        from lightly.models.modules.heads import BarlowTwinsProjectionHead

        self.views = multi_crop(config)
        check_sizes(encoder, self.views)
        # three layers with batch normalisation, as lightly's LeJEPA head, which is newer than SIGReg
        head = BarlowTwinsProjectionHead(encoder.num_features, config.hidden, config.dim)
        self.network = Projected(encoder, head)
        self.regularizer = SIGReg(
            knots=config.knots,
            t_max=config.t_max,
            num_vectors=config.projections,
            gather_distributed=True,
        )
        self.sigreg = config.sigreg

    def forward(self, batch: Batch) -> Step:
        """``lambda SIGReg + (1 - lambda) invariance``; the directions are drawn from torch's global generator."""
        everything = self.network(*by_size(batch.views)).unflatten(0, (len(batch.views), -1))
        z = everything[:GLOBAL]  # of V x B x D
        with full_precision(z):
            gaussian = self.regularizer(everything)
            spread = (everything - z.mean(dim=0)).square().mean()
            loss = self.sigreg * gaussian + (1.0 - self.sigreg) * spread
        logs = {"sigreg": gaussian, "invariance": spread, "feature_std": feature_std(z[0])}
        return Step(loss, {name: value.detach() for name, value in logs.items()})

    def after_step(self, progress: float) -> None:
        """Nothing follows the step."""

    def encoder(self) -> nn.Module:
        """The encoder without the head."""
        return self.network.encoder
