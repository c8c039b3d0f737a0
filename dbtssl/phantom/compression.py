"""The compressed breast of one view: from the slab on the detector to the unit breast and back.

A view's slab, seen across, is the square ``(nu, zeta)`` in [-1, 1]^2; it maps onto the unit disc
``(p, q)`` by the elliptical square-to-disc map, which has a closed inverse (Fong 2015, arXiv
1509.06344), and is then turned by the view's angle. So CC and MLO show the same tissue, and a
lesion's place in both is exact. It is a smooth stand-in for finite elements, not volume-preserving
mechanics.

``u`` is mm from the chest wall, ``v`` mm along it (negative towards the head), ``z`` mm above the
bottom of the stack.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from torch import Tensor

from dbtssl.phantom.config import FIELD_OF_VIEW

if TYPE_CHECKING:
    from dbtssl.phantom.subject import Breast, Positioning

Real = TypeVar("Real", float, Tensor)

MLO_ANGLE = 48.0  # degrees between the CC and the MLO plane
MLO_THICKNESS, MLO_LENGTH = 1.08, 1.02  # an MLO view is thicker and reaches deeper
MLO_REACH = (2.4, 0.95)  # half width above and below the nipple: an MLO view runs into the axilla
MLO_OFFSET = 22.0  # mm by which the nipple lies below the middle of an MLO image
STACK_MARGIN = (
    6.0  # mm of stack beyond the breast: 71 frames at 65 mm, 45 at 39 mm in BCS-DBT headers
)
THINNEST = 24.0  # mm
EDGE_ROUNDING = 0.75  # width of the rounded rim, in half thicknesses
FAN = 0.45  # how much the breast narrows from chest wall to nipple
NIPPLE = 5.0  # mm, radius
MUSCLE_LENGTH = 2.6  # length of the pectoral triangle along the chest wall, in its widths
MUSCLE_BELLY = 6.0  # mm by which its edge bulges


@dataclass(frozen=True, slots=True)
class Compression:
    """Geometry of one view; ``mid`` is the height of the breast's middle plane, lengths in mm."""

    length: float
    width: float
    thickness: float
    mid: float
    turn: float  # radians
    above: float  # half width of the outline towards the head
    below: float
    roundness: float
    muscle: float  # width of the pectoral triangle at the top of the image, 0 in a CC view
    top: float  # v of the upper edge of the image
    centre: float  # v of the middle of the image

    def unit(self, u: Real, v: Real, z: Real) -> tuple[Real, Real, Real]:
        """Slab coordinates without unit: ``s``, lateral ``t`` and height ``zeta``."""
        return u / self.length, v / self.width, (z - self.mid) / (self.thickness / 2)

    def depth(self, u: Real, v: Real, z: Real) -> Real:
        """About the mm below the skin, negative outside; the nipple is a ball at the tip."""
        e = self.roundness
        half = (v < 0) * self.above + (v >= 0) * self.below
        rho = ((u / self.length) ** e + abs(v / half) ** e) ** (1 / e)
        rim = EDGE_ROUNDING * self.thickness / 2 / self.length
        beyond = (rho - (1 - rim)) / rim
        beyond = (beyond + abs(beyond)) / 2
        zeta = (z - self.mid) / (self.thickness / 2)
        body: Real = (1 - (beyond**2 + zeta**2) ** 0.5) * (self.thickness / 2)
        nipple: Real = NIPPLE - ((u - self.length) ** 2 + v**2 + (z - self.mid) ** 2) ** 0.5
        return (body + nipple + abs(body - nipple)) / 2  # the larger of the two

    def disc(self, s: Tensor, t: Tensor, zeta: Tensor) -> tuple[Tensor, Tensor]:
        """Slab to the breast's own axes ``(p, q)``."""
        nu = t / (1 - FAN * s.clamp(0, 1))
        p = nu * (1 - zeta.square().clamp(max=1) / 2).sqrt()
        q = zeta * (1 - nu.square().clamp(max=1) / 2).sqrt()
        c, sn = math.cos(self.turn), math.sin(self.turn)
        return c * p - sn * q, sn * p + c * q

    def place(self, at: tuple[float, float, float]) -> tuple[float, float, float]:
        """Where a point of the unit breast lies: ``(u, v, z)`` in mm. Inverse of `disc`."""
        s, p, q = at
        c, sn = math.cos(self.turn), math.sin(self.turn)
        p, q = c * p + sn * q, c * q - sn * p
        nu, zeta = _square(p, q), _square(q, p)
        t = nu * (1 - FAN * s)
        return s * self.length, t * self.width, self.mid + zeta * self.thickness / 2

    def anchor(self, s: float, nu: float, zeta: float) -> tuple[float, float, float]:
        """The point ``(s, p, q)`` of the unit breast at a place of this view's square."""
        p, q = nu * math.sqrt(1 - zeta**2 / 2), zeta * math.sqrt(1 - nu**2 / 2)
        c, sn = math.cos(self.turn), math.sin(self.turn)
        return s, c * p - sn * q, sn * p + c * q

    def muscle_depth(self, u: Real, v: Real) -> Real:
        """Mm inside the edge of the pectoral muscle, negative outside; the muscle must not be 0."""
        down = (v - self.top) / (self.muscle * MUSCLE_LENGTH)
        inside = down * (down > 0) * (down < 1)
        return self.muscle * (1 - down) - u + 4 * MUSCLE_BELLY * inside * (1 - inside)


def frames(breast: Breast, positioning: Positioning, spacing: float) -> int:
    """Slices of the stack: they cover the breast and the margin that the vendor adds."""
    return math.ceil((_thickness(breast, positioning) + STACK_MARGIN) / spacing)


def compress(breast: Breast, positioning: Positioning, height: float) -> Compression:
    """Lay a breast between the plates; ``height`` is that of the stack in mm."""
    mlo = positioning.projection == "mlo"
    length = breast.depth * positioning.pull * (MLO_LENGTH if mlo else 1.0)
    width = breast.width / math.sqrt(positioning.squeeze)
    above, below = MLO_REACH if mlo else (1 + breast.lean, 1 - breast.lean)
    angle = math.radians((MLO_ANGLE if mlo else 0.0) + positioning.roll)
    centre = -positioning.shift - (MLO_OFFSET if mlo else 0.0)
    return Compression(
        length=length,
        width=width,
        thickness=_thickness(breast, positioning),
        mid=height / 2,
        turn=angle if positioning.left else -angle,
        above=above * width,
        below=below * width,
        roundness=breast.roundness,
        muscle=positioning.pectoral * length if mlo else 0.0,
        top=centre - FIELD_OF_VIEW / 2,
        centre=centre,
    )


def _thickness(breast: Breast, positioning: Positioning) -> float:
    factor = MLO_THICKNESS if positioning.projection == "mlo" else 1.0
    return max(breast.thickness * positioning.squeeze * factor, THINNEST)


def _square(p: float, q: float) -> float:
    """The square's coordinate ``nu`` of a point of the disc: p = nu sqrt(1 - zeta^2 / 2)."""
    d = 2 + p * p - q * q
    root = math.sqrt(max(d * d - 8 * p * p, 0.0))
    return math.copysign(math.sqrt(max(d - root, 0.0) / 2), p)
