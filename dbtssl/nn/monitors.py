"""Numbers that show a collapse while it happens."""

from __future__ import annotations

import torch
from torch.nn import functional as F

RANKME_EPS = 1e-7  # the paper's, for singular values in float32


@torch.no_grad()
def feature_std(z: torch.Tensor) -> torch.Tensor:
    """Mean standard deviation of the L2-normalised features ``(B, D)`` along each dimension (SimSiam, section 4.1).

    0 if all are one vector, about ``1 / sqrt(D)`` if they fill the sphere evenly. ``B`` is 2 or more.
    """
    return F.normalize(z.float(), dim=1).std(dim=0).mean()


@torch.no_grad()
def rankme(z: torch.Tensor) -> torch.Tensor:
    """Effective rank of the features ``(B, D)``, from 1 (collapsed) to ``min(B, D)`` (RankMe, equations 1 and 2).

    The exponential of the entropy of ``p_k = s_k / sum(s) + 1e-7``, ``s`` being the singular values of the features as
    they are, in float32: neither centred nor normalised (Garrido et al., ICML 2023).
    """
    with torch.autocast(z.device.type, enabled=False):
        s = torch.linalg.svdvals(z.float())
    p = s / s.sum().clamp_min(RANKME_EPS) + RANKME_EPS
    return torch.exp(-(p * p.log()).sum())
