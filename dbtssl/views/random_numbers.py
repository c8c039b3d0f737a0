"""Random numbers on the device from integer seeds alone: one stream a sample, whatever batch or device it lies in.

torch's generators give one stream a device, so that a sample's numbers would depend on its place in the batch and on
the number of devices. Here they are a hash of (seed, stream, position): the finaliser ``lowbias32`` of C. Wellons
(https://nullprogram.com/blog/2018/07/31/), whose bias is below 0.2 of 32 bits, applied three times.
"""

from __future__ import annotations

import math

import torch

_WORD = 0xFFFFFFFF


def uniform(seeds: torch.Tensor, stream: int, shape: tuple[int, ...] = ()) -> torch.Tensor:
    """Uniform in [0, 1), float32, shape ``(B, *shape)``; ``seeds`` is ``(B,)`` int64, ``stream`` names the use."""
    low, high = seeds & _WORD, (seeds >> 32) & _WORD
    key = _mix(_mix(low ^ _mix(torch.full_like(low, stream + 1))) ^ high)  # B
    position = torch.arange(math.prod(shape), device=seeds.device)
    bits = _mix((key[:, None] + _mix(position)) & _WORD)  # B x positions
    return ((bits >> 8).to(torch.float32) * 2.0**-24).view(len(seeds), *shape)


def normal(seeds: torch.Tensor, stream: int, shape: tuple[int, ...]) -> torch.Tensor:
    """Standard normal, float32, shape ``(B, *shape)``, by Box and Muller; uses ``stream`` and ``stream + 1``."""
    radius = torch.sqrt(-2.0 * torch.log1p(-uniform(seeds, stream, shape)))
    return radius * torch.cos(2.0 * math.pi * uniform(seeds, stream + 1, shape))


def _mix(x: torch.Tensor) -> torch.Tensor:
    """A bijection of 32-bit words, kept in int64."""
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & _WORD
    x = ((x ^ (x >> 15)) * 0x846CA68B) & _WORD
    return x ^ (x >> 16)
