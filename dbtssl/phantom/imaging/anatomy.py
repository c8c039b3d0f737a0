"""Attenuation of the compressed breast, slice by slice: fat, gland, ligaments, skin, muscle,
lesion.

Slices are sampled in projective coordinates: a slice at height z is drawn larger by its cone
magnification, relative to the middle of the stack, so that every source position is a plain shift
of it (`acquisition`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from dbtssl.phantom.findings import benign as innocent
from dbtssl.phantom.findings import lesion_shapes
from dbtssl.phantom.findings.inclusions import Frame
from dbtssl.phantom.imaging import pectoral
from dbtssl.phantom.model import noise
from dbtssl.phantom.model.compression import NIPPLE, STACK_MARGIN, Compression, compress
from dbtssl.phantom.model.subject import Breast, Innocent, Lesion, Positioning

if TYPE_CHECKING:
    from dbtssl.phantom.model.geometry import Grid
    from dbtssl.phantom.model.pattern import Pattern, Pose

# 1/mm at 20 keV, rounded (Johns & Yaffe 1987: fat 0.0456, fibrous 0.0802, carcinoma 0.0844)
FAT, GLAND = 0.045, 0.080
CARCINOMA = 1.06 * GLAND  # VICTRE: density of a mass relative to gland
GLANDULAR = 0.65  # fibroglandular tissue is itself a mixture with fat
TRANSITION = (
    0.08,
    0.05,
)  # softness of the gland's border in its field's units; and per mm of pixel
LIGAMENT_WIDTH = (0.055, 0.075)  # in units of the lobule field; and per mm of pixel
TISSUE_SCALE = 0.62  # uncompressed over compressed length: tissue spreads under the paddle
CELL_STEPS = 1.5  # the fields are looked up this often in a cell of the tile, at least
ORIGIN = 500.0  # mm, keeps tissue coordinates positive
SKIN_THICKNESS = 1.6  # mm of `Compression.depth`, about 1.2 mm of skin
SUBCUTANEOUS = (5.0, 1.2)  # mm of fat between skin and gland, and softness of its border in mm
LIGAMENT_DEPTH = (3.0, 1.5)  # mm below which ligaments and muscle begin, and softness in mm
SURFACE = 0.35  # softness of the breast's surface in pixels
ENVELOPE = (3.0, 2.0)  # fall of the gland's field along s and across, from its centre
ENVELOPE_CENTRE = (0.55, -0.08)  # (s, p): a little towards the upper outer quadrant


class Look(NamedTuple):
    """What differs between the tissues of the two anatomies."""

    border: float  # softness of the gland's border, in `TRANSITION`
    grain: float  # by how much gland varies with the lobule field
    ligament: float  # fibrous share of a ligament's sheet at our resolution
    scallop: float  # mm by which the fat below the skin is thicker in some lobules than in others
    skin: float  # 1/mm


PLAIN = Look(border=1.0, grain=0.08, ligament=0.70, scallop=0.0, skin=0.085)
FULL = Look(border=0.7, grain=0.18, ligament=0.82, scallop=2.5, skin=0.062)

Field: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]


class Slab:
    """One compressed breast, to be sampled on the rows ``v`` and columns ``u`` that it reaches."""

    def __init__(
        self,
        breast: Breast,
        lesion: Lesion | None,
        shape: Compression,
        grid: Grid,
        pose: Pose | None = None,
        things: Innocent | None = None,
    ) -> None:
        self.breast, self.lesion, self.shape, self.grid = breast, lesion, shape, grid
        self.pose = pose
        n = noise.cells(grid.rows)
        self.tile = noise.tissue_tile(breast.seed, breast.twin, breast.beta, breast.lobule, n)
        self.threshold = gland_threshold(breast, n)
        self.step = max(1, round(noise.TILE / n / (CELL_STEPS * TISSUE_SCALE * grid.pixel)))
        reach = grid.scale(grid.height)
        u, v = grid.u(), grid.v()
        self.columns = _window(u, 0.0, (shape.length + NIPPLE + shape.nipple) * reach + 2)
        middle, half = (shape.below - shape.above) / 2, (shape.below + shape.above) / 2
        self.rows = _window(v, middle * reach, half * reach + 2 + 5 * shape.fold)
        self.u, self.v, self.z = u[self.columns], v[self.rows], grid.z()
        self.things = None
        if things is not None:
            frame = Frame(self.u, self.v, self.z, grid, shape)
            self.things = innocent.Drawn(things, breast, lesion, frame, self.tile)

    def attenuation(self, k: int) -> Tensor:
        """Attenuation of slice ``k`` in 1/mm, shape ``(len(v), len(u))``."""
        pixel = self.grid.pixel
        z = self.z[k]
        scale = self.grid.scale(float(z))
        u, v = self.u[None] / scale, self.v[:, None] / scale
        depth = self.shape.depth(u, v, z)
        gland, lobule = self._sampled(self._fields, u, v, z)
        pattern = self.breast.pattern
        look = PLAIN if pattern is None else FULL
        border = look.border * (TRANSITION[0] + TRANSITION[1] * pixel)
        mixed = torch.sigmoid((gland - self.threshold) / border)
        sheet = torch.exp(-((lobule / (LIGAMENT_WIDTH[0] + LIGAMENT_WIDTH[1] * pixel)) ** 2))
        below_skin = torch.sigmoid((depth - LIGAMENT_DEPTH[0]) / LIGAMENT_DEPTH[1])
        fat_layer = SUBCUTANEOUS[0] + look.scallop * lobule.clamp(-1.5, 1.5)
        fibrous = torch.maximum(
            GLANDULAR * mixed * torch.sigmoid((depth - fat_layer) / SUBCUTANEOUS[1]),
            look.ligament * sheet * below_skin,
        )
        fibrous += look.grain * mixed * lobule.clamp(-2, 2)
        mu = FAT + (GLAND - FAT) * fibrous
        if self.things is not None:
            self.things.in_tissue(mu, k)
        self._add_lesion(mu, u, v, z)
        skin = SKIN_THICKNESS if pattern is None else pattern.skin
        mu = torch.where(depth < skin, look.skin, mu)
        self._add_muscle(mu, u, v, z, below_skin)
        if self.things is None:
            return mu * torch.sigmoid(depth / (SURFACE * pixel))
        self.things.over_muscle(mu, k)
        breast = torch.sigmoid(depth / (SURFACE * pixel))
        mu *= breast
        self.things.hard_and_outside(mu, k, breast)
        return mu

    def _fields(self, u: Tensor, v: Tensor, z: Tensor) -> Tensor:
        """Gland field with its envelope, and lobule field: ``(2, len(v), len(u))``."""
        own = self._unit(u, v, z)
        drawn_from = own
        lesion = self.lesion
        if lesion is not None and lesion.drag:
            at_u, at_v, at_z = self.shape.place(lesion.at)
            du, dv, dz = u - at_u, v - at_v, z - at_z
            share = lesion_shapes.pull(lesion, du**2 + dv**2 + dz**2)
            drawn_from = self._unit(u + share * du, v + share * dv, z + share * dz)
        fields = noise.lookup(self.tile, *tissue(self.breast, *drawn_from))
        fields[0] += envelope(self.breast.pattern, *own)
        return fields

    def _fibres(self, u: Tensor, v: Tensor, z: Tensor) -> Tensor:
        draw = pectoral.streaks if self.pose is None else pectoral.bundles
        return draw(self.tile, self.shape, u, v, z)

    def _sampled(self, fields: Field, u: Tensor, v: Tensor, z: Tensor) -> Tensor:
        """``fields`` at every few pixels and bilinear between: a cell of the tile is larger."""
        step = self.step
        coarse = fields(_coarse(u[0], step)[None], _coarse(v[:, 0], step)[:, None], z)
        size = [step * (n - 1) + 1 for n in coarse.shape[1:]]
        fine = F.interpolate(coarse[None], size=size, mode="bilinear", align_corners=True)[0]
        return fine[:, : len(v), : u.shape[1]]

    def _unit(self, u: Tensor, v: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        s, t, zeta = self.shape.unit(u, v, z)
        p, q = self.shape.disc(s, t, zeta)
        return s.expand(p.shape), p, q

    def _add_lesion(self, mu: Tensor, u: Tensor, v: Tensor, z: Tensor) -> None:
        lesion = self.lesion
        if lesion is None:
            return
        at_u, at_v, at_z = self.shape.place(lesion.at)
        reach = lesion_shapes.reach(lesion)
        if abs(float(z) - at_z) > reach:
            return
        rows, columns = _window(v[:, 0], at_v, reach), _window(u[0], at_u, reach)
        offset = (u[:, columns] - at_u, v[rows] - at_v, z - at_z)
        share = lesion_shapes.presence(lesion, self.shape.turn, self.tile, self.grid.pixel, offset)
        part = mu[rows, columns]
        part += lesion.contrast * share * (CARCINOMA - part)

    def _add_muscle(self, mu: Tensor, u: Tensor, v: Tensor, z: Tensor, below_skin: Tensor) -> None:
        """The pectoral muscle of an MLO view: a wedge that thins out, of fibres and fat."""
        if not self.shape.muscle:
            return
        inside = self.shape.muscle_depth(u, v)
        reach = -5 * pectoral.softness(self.grid.pixel)
        rows = slice(0, int((inside > reach).any(1).sum()))
        top = inside[0] > reach if self.pose is None else (inside > reach).any(0)
        columns = slice(0, int(top.sum()))
        zeta = (z - self.shape.mid) / (self.shape.thickness / 2)
        inside = inside[rows, columns]
        fibres = self._sampled(self._fibres, u[:, columns], v[rows], z)[0]
        part = mu[rows, columns]
        share = pectoral.share(inside, zeta, self.grid.pixel, self.pose) * below_skin[rows, columns]
        part += share * (pectoral.attenuation(fibres, inside, self.pose) - part)


def tissue(breast: Breast, s: Tensor, p: Tensor, q: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Unit breast to mm of uncompressed tissue."""
    across = TISSUE_SCALE * breast.width
    along = TISSUE_SCALE * breast.depth
    if breast.pattern is not None:
        along *= breast.pattern.stretch
    return (
        s * along + ORIGIN,
        p * across + ORIGIN,
        q * across + ORIGIN,
    )


def envelope(pattern: Pattern | None, s: Tensor, p: Tensor, q: Tensor) -> Tensor:
    """How much gland gathers behind the nipple, about the axis: added to the gland field."""
    if pattern is None:
        centre_s, centre_p = ENVELOPE_CENTRE
        return -ENVELOPE[0] * (s - centre_s) ** 2 - ENVELOPE[1] * ((p - centre_p) ** 2 + q**2)
    centre_s, centre_p, centre_q = pattern.centre
    fall_s, fall_p, fall_q = pattern.fall
    return (
        -fall_s * (s - centre_s) ** 2 - fall_p * (p - centre_p) ** 2 - fall_q * (q - centre_q) ** 2
    )


@lru_cache(maxsize=8)
def gland_threshold(breast: Breast, n: int) -> float:
    """Level of field plus envelope above which tissue is gland, for the wanted share of gland.

    Found on a coarse sample of the breast as a CC view compresses it: the same in every view.
    """
    height = breast.thickness + STACK_MARGIN
    shape = compress(breast, Positioning("cc", left=True), height)
    u, v, z = torch.meshgrid(
        torch.linspace(2, shape.length, 28),
        torch.linspace(-shape.above, shape.below, 40),
        shape.mid + torch.linspace(-0.48, 0.48, 16) * shape.thickness,
        indexing="ij",
    )
    inside = shape.depth(u, v, z) > SUBCUTANEOUS[0]
    s, t, zeta = shape.unit(u[inside], v[inside], z[inside])
    p, q = shape.disc(s, t, zeta)
    tile = noise.tissue_tile(breast.seed, breast.twin, breast.beta, breast.lobule, n)
    field = noise.lookup(tile[:1], *tissue(breast, s, p, q))[0] + envelope(breast.pattern, s, p, q)
    return torch.quantile(field, 1 - breast.density).item()


def _coarse(x: Tensor, step: int) -> Tensor:
    """Every ``step``-th of the evenly spaced ``x``, and one more: all of ``x`` lie between."""
    n = -(-(len(x) - 1) // step) + 1
    return x[0] + (x[1] - x[0]) * step * torch.arange(n)


def _window(x: Tensor, centre: float, reach: float) -> slice:
    """The positions of the ascending ``x`` within ``reach`` of ``centre``."""
    near = torch.searchsorted(x.contiguous(), torch.tensor([centre - reach, centre + reach]))
    return slice(int(near[0]), int(near[1]))
