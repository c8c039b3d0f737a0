"""Numbers that show a collapse while it happens."""

from __future__ import annotations

import torch
from torch.nn import functional as F


@torch.no_grad()
def feature_std(z: torch.Tensor) -> torch.Tensor:
    """Mean standard deviation of the L2-normalised features ``(B, D)`` along each dimension (SimSiam, section 4.1).

    0 if all are one vector, about ``1 / sqrt(D)`` if they fill the sphere evenly. ``B`` is 2 or more.
    """
    return F.normalize(z.float(), dim=1).std(dim=0).mean()
