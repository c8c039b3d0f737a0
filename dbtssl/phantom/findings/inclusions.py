"""Things in a breast as parts of its slices: solid ones in windows, thin ones as chains of points.

Whatever is drawn is anchored in the unit breast and put where `Compression.place` says, so CC and
MLO views show the same thing at the place that belongs together. Like lesions, solid things are
stiff: they keep their shape under the paddle and turn with the breast.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbtssl.phantom.model.compression import Compression
    from dbtssl.phantom.model.geometry import Grid

EDGE = (0.25, 0.40)  # softness of an edge in mm; and per mm of pixel
SAMPLED = 0.5  # standard deviation of a sample's reach, in pixels and in slices
TAIL = 2.6  # standard deviations after which a point's kernel is cut
POINTS = 4000  # of a slice drawn at once


class Frame(NamedTuple):
    """The part of a view that is computed: columns ``u``, rows ``v`` and slices ``z``, in mm."""

    u: Tensor
    v: Tensor
    z: Tensor
    grid: Grid
    shape: Compression


@dataclass(frozen=True, slots=True)
class Stamp:
    """How much of a box of voxels is one thing, ``share`` (slices, rows, columns), 0 to 1.

    ``mu`` is its attenuation in 1/mm, ``first`` the slice of ``share[0]``.
    """

    share: Tensor
    mu: float
    first: int
    rows: slice
    columns: slice

    def draw(self, slice_: Tensor, k: int) -> None:
        """Mix the thing into slice ``k``, in place."""
        if 0 <= k - self.first < len(self.share):
            part = slice_[self.rows, self.columns]
            part += self.share[k - self.first] * (self.mu - part)


class Window(NamedTuple):
    """Voxels round a centre: their slices, rows and columns, and their places in breast axes."""

    first: int
    rows: slice
    columns: slice
    place: tuple[Tensor, Tensor, Tensor]  # mm from the centre, along s, p and q

    def stamp(self, share: Tensor, mu: float) -> Stamp:
        """The stamp of ``share``, of the window's shape."""
        return Stamp(share, mu, self.first, self.rows, self.columns)


def window(frame: Frame, centre: tuple[float, float, float], reach: float) -> Window | None:
    """The voxels within about ``reach`` mm of ``centre`` (u, v, z); None where there are none."""
    u, v, z = centre
    grid = frame.grid
    near = ((frame.z - z).abs() < reach).nonzero()[:, 0]
    scale = grid.scale(z)
    margin = 1.05 * reach + grid.pixel  # the scale differs a little over the window's slices
    rows = _between(frame.v, (v - margin) * scale, (v + margin) * scale)
    columns = _between(frame.u, (u - margin) * scale, (u + margin) * scale)
    if not len(near) or rows.start == rows.stop or columns.start == columns.stop:
        return None
    first, last = int(near[0]), int(near[-1])
    heights = frame.z[first : last + 1]
    scales = torch.tensor([grid.scale(h) for h in heights.tolist()])[:, None, None]
    dv = frame.v[rows][None, :, None] / scales - v
    dz = (heights - z)[:, None, None]
    c, s = math.cos(frame.shape.turn), math.sin(frame.shape.turn)
    ds = frame.u[columns][None, None, :] / scales - u
    return Window(first, rows, columns, (ds, c * dv - s * dz, s * dv + c * dz))


def ellipsoid(
    place: tuple[Tensor, Tensor, Tensor],
    axes: Sequence[float],
    rotation: Sequence[Sequence[float]],
    centre: Sequence[float] = (0.0, 0.0, 0.0),
) -> Tensor:
    """About the mm inside an ellipsoid, along the ray from its centre; negative outside.

    ``axes`` are half axes in mm, the rows of ``rotation`` their directions, ``centre`` is given
    along them.
    """
    x, y, z = place
    squared, scaled = torch.zeros(1), torch.zeros(1)
    for axis, direction, middle in zip(axes, rotation, centre, strict=True):
        along = direction[0] * x + direction[1] * y + direction[2] * z - middle
        squared = squared + along.square()
        scaled = scaled + (along / axis).square()
    norm = scaled.sqrt().clamp_min(1e-4)
    inside: Tensor = (1 - norm) * (squared.sqrt() / norm).clamp_min(0.2 * min(axes))
    return inside


def soft(inside: Tensor, pixel: float, factor: float = 1.0) -> Tensor:
    """0 to 1 across an edge ``factor`` times as soft as a sharp one on a grid of ``pixel`` mm."""
    return torch.sigmoid(inside / (factor * (EDGE[0] + EDGE[1] * pixel)))


class Chain(NamedTuple):
    """Small balls or pieces of a thread: places ``(N, 3)`` in (u, v, z) mm, radii and volumes."""

    places: Tensor
    radius: Tensor  # N, mm
    volume: Tensor  # N, mm3


def thread(places: Tensor, radius: Tensor) -> Chain:
    """A tube through ``places`` (N, 3), its ``radius`` given at each of them."""
    step = (places[1:] - places[:-1]).norm(dim=1)
    length = torch.zeros(len(places))
    length[:-1] += step / 2
    length[1:] += step / 2
    return Chain(places, radius, math.pi * radius.square() * length)


def balls(places: Tensor, radius: Tensor) -> Chain:
    """Separate balls at ``places`` (N, 3)."""
    return Chain(places, radius, 4 / 3 * math.pi * radius**3)


def joined(chains: Sequence[Chain]) -> Chain:
    """One chain of all ``chains``."""
    return Chain(*(torch.cat(parts) for parts in zip(*chains, strict=True)))


class Dust:
    """Points that share out their volume over the voxels round them, slice by slice.

    A point is a Gaussian as wide as the ball or tube it stands for (half the radius on each axis)
    and as the voxel. So thin things keep their attenuation at every pixel size.
    """

    def __init__(self, chain: Chain, frame: Frame) -> None:
        self.frame = frame
        grid = frame.grid
        sigma = ((chain.radius / 2).square() + (SAMPLED * grid.pixel) ** 2).sqrt()
        sigma_z = ((chain.radius / 2).square() + (SAMPLED * grid.spacing) ** 2).sqrt()
        weight = chain.volume / ((2 * math.pi) ** 1.5 * sigma.square() * sigma_z)
        order = chain.places[:, 2].argsort()
        self.places, self.sigma = chain.places[order], sigma[order]
        self.sigma_z, self.weight = sigma_z[order], weight[order]
        self.reach_z = TAIL * float(sigma_z.max()) if len(order) else 0.0
        self.heights = self.places[:, 2].contiguous()

    def share(self, k: int) -> Tensor | None:
        """How much of each pixel of slice ``k`` is taken, 0 to 1; None where nothing is."""
        frame, grid = self.frame, self.frame.grid
        z = float(frame.z[k])
        ends = torch.tensor([z - self.reach_z, z + self.reach_z])
        first, last = torch.searchsorted(self.heights, ends).tolist()
        if first == last:
            return None
        plane = torch.zeros(len(frame.v) * len(frame.u))
        for start in range(first, last, POINTS):
            self._add(plane, slice(start, min(start + POINTS, last)), z, grid.scale(z))
        return plane.view(len(frame.v), len(frame.u)).clamp_max_(1.0)

    def _add(self, plane: Tensor, part: slice, z: float, scale: float) -> None:
        pixel = self.frame.grid.pixel
        sigma = self.sigma[part] * scale
        dz = (z - self.heights[part]) / self.sigma_z[part]
        weight = self.weight[part] * torch.exp(-0.5 * dz.square())
        reach = math.ceil(TAIL * float(sigma.max()) / pixel)
        steps = torch.arange(-reach, reach + 1)
        row, along_rows = _kernel(self.places[part, 1] * scale, self.frame.v, steps, sigma, pixel)
        column, along_columns = _kernel(
            self.places[part, 0] * scale, self.frame.u, steps, sigma, pixel
        )
        values = (weight[:, None] * along_rows)[:, :, None] * along_columns[:, None, :]
        index = row[:, :, None] * len(self.frame.u) + column[:, None, :]
        plane.index_add_(0, index.flatten(), values.flatten())


def _kernel(
    at: Tensor, x: Tensor, steps: Tensor, sigma: Tensor, pixel: float
) -> tuple[Tensor, Tensor]:
    """Indices into ``x`` near ``at`` and the Gaussian's values there, 0 outside: ``(N, steps)``."""
    where = (at - float(x[0])) / pixel
    index = where.round().long()[:, None] + steps
    value = torch.exp(-0.5 * ((index - where[:, None]) * (pixel / sigma)[:, None]).square())
    value *= (index >= 0) & (index < len(x))
    return index.clamp(0, len(x) - 1), value


def _between(x: Tensor, low: float, high: float) -> slice:
    first, last = torch.searchsorted(x.contiguous(), torch.tensor([low, high])).tolist()
    return slice(first, last)
