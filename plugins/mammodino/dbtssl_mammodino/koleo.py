"""KoLeo: features are driven apart (Sablayrolles et al., Spreading vectors, arXiv:1806.03198; DINOv2, section 4)."""

from __future__ import annotations

import torch
from dbtssl_lightly_zoo.projected import full_precision
from torch.nn import functional as F

EPS = 1e-8  # DINOv2's


def koleo(features: torch.Tensor) -> torch.Tensor:
    """Minus the mean log distance of each unit row of ``features`` ``(B, C)`` to its nearest other; a scalar.

    The others are those of all devices, with their gradients: DINOv2 looks at each device's own, so that its loss
    depends on their number. Equal to lightly's `KoLeoLoss` on one device, with autocast off. Of one row there is no
    distance, and the loss is 0.
    """
    from lightly.utils import dist

    with full_precision(features):
        x = F.normalize(features.float(), dim=1, eps=EPS)
        everyone = torch.cat(dist.gather(x)) if dist.world_size() > 1 else x  # N x C
        if len(everyone) < 2:
            return 0.0 * x.sum()
        with torch.no_grad():
            cosines = x @ everyone.T
            own = torch.arange(len(x), device=x.device) + dist.rank() * len(x)
            nearest = cosines.scatter(1, own[:, None], -2.0).argmax(dim=1)
        distance = F.pairwise_distance(x, everyone[nearest], eps=EPS)
        return -(distance + EPS).log().mean()
