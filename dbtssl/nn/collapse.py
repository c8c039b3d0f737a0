"""Numbers that show a collapse while it happens."""

from __future__ import annotations

import torch
from torch.nn import functional as F

ONE_VECTOR = 0.03  # new networks of four kinds had 0.10 to 1.02 on a phantom, collapsed ones 0.02
RANKME_EPS = 1e-7  # the paper's, for singular values in float32


@torch.no_grad()
def feature_std(z: torch.Tensor) -> torch.Tensor:
    """Mean standard deviation of the L2-normalised features ``(B, D)`` along each dimension (SimSiam, section 4.1).

    0 if all are one vector, about ``1 / sqrt(D)`` if they fill the sphere evenly. ``B`` is 2 or more.
    """
    return F.normalize(z.float(), dim=1).std(dim=0).mean()


@torch.no_grad()
def softmax_entropy(logits: torch.Tensor) -> torch.Tensor:
    """Mean entropy of the distributions ``softmax(logits)`` over the last axis, in nats: 0 if each is one outcome."""
    log_p = logits.log_softmax(dim=-1)
    return -(log_p.exp() * log_p).sum(dim=-1).mean()


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


def one_vector(std: float, dim: int) -> str:
    """A sentence where `feature_std` of ``dim`` features says that all are one vector, else empty.

    That is below a fraction `ONE_VECTOR` of ``1 / sqrt(dim)``. It is what an objective's ``collapsed`` may answer.
    """
    fraction = std * dim**0.5
    if not fraction < ONE_VECTOR:
        return ""
    return f"the features of all images are one vector (their standard deviation is {fraction:.2g} of an even one)"
