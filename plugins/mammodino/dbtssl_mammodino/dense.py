"""Cross-slice term ``dense``: the same place of two near slices has the same distribution over patch prototypes.

Slices of a volume lie over each other, so that the same crop box shows the same place. It does not in another volume:
rows whose positive is of another (the other CC/MLO view, with the sampler ``metadata-pairs``) do not count here. In the
terms ``consistency`` and ``contrastive`` they do, as any pair that the sampler makes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtssl.api import gather, world_size
from dbtssl_mammodino.views import CROSS

if TYPE_CHECKING:
    import torch

    from dbtssl.api import Batch


def counted_patches(batch: Batch, anchor: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    """Which patches count, ``(B, h * w)``: tissue in both slices, ``(B, h, w)`` each, in rows of one volume."""
    same = batch.volume[0] == batch.volume[CROSS]
    return (anchor & positive).flatten(1) & same[:, None]


def counted_rows(counted: torch.Tensor) -> torch.Tensor:
    """Rows with a patch that counts, at least 1, a scalar: the mean over devices, for DDP takes the mean of losses."""
    rows = gather(counted.any(dim=1)).sum()
    return rows.clamp_min(1) / world_size()
