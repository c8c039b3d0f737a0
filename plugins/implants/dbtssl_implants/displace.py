"""Where pixels lie as seen from a point, in mm, and images whose pixels are read from elsewhere."""

from __future__ import annotations

import torch
from torch.nn import functional as F


def offsets(
    size: torch.Size, y: torch.Tensor, x: torch.Tensor, pixel: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """How far pixels of views of ``size`` lie below and right of ``y`` and ``x`` ``(B,)``, mm, each ``(B, S, S)``."""
    rows = torch.arange(size[-2], device=pixel.device, dtype=torch.float32)
    columns = torch.arange(size[-1], device=pixel.device, dtype=torch.float32)
    dy = (rows[None, :, None] - y[:, None, None]) * pixel[:, :1, None]
    dx = (columns[None, None] - x[:, None, None]) * pixel[:, 1:, None]
    return dy.expand(-1, -1, size[-1]), dx.expand(-1, size[-2], -1)


def displaced(images: torch.Tensor, down: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Images ``(B, 1, S, S)`` whose pixels are read ``down`` and ``right`` ``(B, S, S)`` pixels away."""
    rows, columns = images.shape[-2:]
    y = torch.arange(rows, device=images.device)[None, :, None] + down
    x = torch.arange(columns, device=images.device)[None, None] + right
    grid = torch.stack(((2.0 * x + 1.0) / columns - 1.0, (2.0 * y + 1.0) / rows - 1.0), dim=-1)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
