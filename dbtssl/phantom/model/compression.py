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

import torch
from torch import Tensor

from dbtssl.phantom.model.phantom_config import FIELD_OF_VIEW

if TYPE_CHECKING:
    from dbtssl.phantom.model.subject import Breast, Positioning

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
NECK_FROM, NECK_SPAN = 0.05, 0.95  # half widths above the nipple where an MLO view begins to narrow
NIPPLE_WIDTH = (2.0, 0.8)  # mm, half width of the full anatomy's nipple; and per mm of its height
WAVE = 23.0  # mm, over 2 pi, of the unevenness of the outline


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
    nipple: float = 0.0  # mm by which the outline runs out into it; 0 is the plain anatomy's ball
    muscle_length: float = MUSCLE_LENGTH
    muscle_belly: float = MUSCLE_BELLY
    tilt: float = 0.0  # mm by which tissue lies further up per mm away from the nipple
    neck: float = 0.0  # by how much an MLO view is narrower at the axilla
    uneven: float = 0.0  # of the outline, as a share of its distance
    fold: float = 0.0  # mm, size of the skin fold below the breast; 0 is none

    def unit(self, u: Real, v: Real, z: Real) -> tuple[Real, Real, Real]:
        """Slab coordinates without unit: ``s``, lateral ``t`` and height ``zeta``."""
        if self.tilt:
            v = v + self.tilt * (self.length - u)
        return u / self.length, v / self.width, (z - self.mid) / (self.thickness / 2)

    def depth(self, u: Real, v: Real, z: Real) -> Real:
        """About the mm below the skin, negative outside; the nipple is a ball at the tip."""
        zeta = (z - self.mid) / (self.thickness / 2)
        beyond = self._beyond(u, v, zeta)
        depth: Real = (1 - (beyond**2 + zeta**2) ** 0.5) * (self.thickness / 2)
        if not self.nipple:
            ball = NIPPLE - ((u - self.length) ** 2 + v**2 + (z - self.mid) ** 2) ** 0.5
            depth = _larger(depth, ball)
        if self.fold:
            depth = _larger(depth, self._fold_depth(u, v, z))
        return depth

    def half_height(self, u: float, v: float) -> float:
        """Half the thickness of the breast at a place, in mm; 0 at its outline and outside."""
        return math.sqrt(max(1 - self._beyond(u, v, 1.0) ** 2, 0.0)) * self.thickness / 2

    def inwards(self, u: float, v: float, edge: float) -> tuple[float, float]:
        """The place itself, or the one towards the chest wall where the rim is ``edge`` wide."""
        for _ in range(40):
            if self._beyond(u, v, 1.0) <= edge:
                break
            u, v = 0.95 * u, 0.95 * v
        return u, v

    def _beyond(self, u: Real, v: Real, zeta: Real) -> Real:
        """How far out in the rounded rim a place is: 0 at its inner border, 1 at the outline."""
        e = self.roundness
        half = (v < 0) * self.above + (v >= 0) * self.below
        if self.nipple:
            width, more = NIPPLE_WIDTH
            round_ = 1 / (1 + (v / (width + more * self.nipple)) ** 4)
            middle = 1 - zeta**2
            u = u - self.nipple * round_ * (middle + abs(middle)) / 2
            u = (u + abs(u)) / 2
        if self.neck:
            up = (-v / self.width - NECK_FROM) / NECK_SPAN
            up = (up + abs(up)) / 2
            u = u / (1 - self.neck * up**2 / (1 + up**2))
        rho = ((u / self.length) ** e + abs(v / half) ** e) ** (1 / e)
        if self.uneven:
            rho = rho * (1 + self.uneven * _ripple(v / WAVE + 7 * self.tilt))
        rim = EDGE_ROUNDING * self.thickness / 2 / self.length
        beyond: Real = (rho - (1 - rim)) / rim
        return (beyond + abs(beyond)) / 2

    def _fold_depth(self, u: Real, v: Real, z: Real) -> Real:
        """About the mm inside the skin below the breast, a round pad at the chest wall."""
        pad = (u + 0.3 * self.fold) ** 2 + ((v - self.below - 0.9 * self.fold) / 1.6) ** 2
        high = ((z - self.mid) * self.fold / (self.thickness / 2)) ** 2
        depth: Real = self.fold - (pad + high) ** 0.5
        return depth

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
        u, v = s * self.length, t * self.width
        if self.tilt:
            v -= self.tilt * (self.length - u)
        return u, v, self.mid + zeta * self.thickness / 2

    def place_all(self, at: Tensor) -> Tensor:
        """`place` for many points: ``(N, 3)`` of (s, p, q) to ``(N, 3)`` of (u, v, z)."""
        s = at[:, 0]
        c, sn = math.cos(self.turn), math.sin(self.turn)
        p, q = c * at[:, 1] + sn * at[:, 2], c * at[:, 2] - sn * at[:, 1]
        u = s * self.length
        v = _squares(p, q) * (1 - FAN * s) * self.width - self.tilt * (self.length - u)
        z = self.mid + _squares(q, p) * self.thickness / 2
        return torch.stack((u, v, z), 1)

    def anchor(self, s: float, nu: float, zeta: float) -> tuple[float, float, float]:
        """The point ``(s, p, q)`` of the unit breast at a place of this view's square."""
        p, q = nu * math.sqrt(1 - zeta**2 / 2), zeta * math.sqrt(1 - nu**2 / 2)
        c, sn = math.cos(self.turn), math.sin(self.turn)
        return s, c * p - sn * q, sn * p + c * q

    def muscle_depth(self, u: Real, v: Real) -> Real:
        """Mm inside the edge of the pectoral muscle, negative outside; the muscle must not be 0."""
        down = (v - self.top) / (self.muscle * self.muscle_length)
        inside = down * (down > 0) * (down < 1)
        return self.muscle * (1 - down) - u + 4 * self.muscle_belly * inside * (1 - inside)


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
    pattern, pose = breast.pattern, positioning.pose
    build: dict[str, float] = {}
    if pattern is not None:
        build = {
            "nipple": pattern.nipple,
            "uneven": pattern.uneven,
        }
    if pose is not None:
        build |= {
            "muscle_length": pose.muscle_length,
            "muscle_belly": pose.muscle_belly,
            "tilt": pose.tilt,
            "neck": pose.neck,
            "fold": pose.fold,
        }
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
        **build,
    )


def _thickness(breast: Breast, positioning: Positioning) -> float:
    factor = MLO_THICKNESS if positioning.projection == "mlo" else 1.0
    return max(breast.thickness * positioning.squeeze * factor, THINNEST)


def _larger(a: Real, b: Real) -> Real:
    return (a + b + abs(a - b)) / 2


def _ripple(x: Real) -> Real:
    """A wave of amplitude 1 that swells and ebbs."""
    if isinstance(x, Tensor):
        return x.sin() * (0.37 * x + 1).cos()
    return math.sin(x) * math.cos(0.37 * x + 1)


def _squares(p: Tensor, q: Tensor) -> Tensor:
    d = 2 + p * p - q * q
    root = (d * d - 8 * p * p).clamp_min(0).sqrt()
    return torch.copysign(((d - root).clamp_min(0) / 2).sqrt(), p)


def _square(p: float, q: float) -> float:
    """The square's coordinate ``nu`` of a point of the disc: p = nu sqrt(1 - zeta^2 / 2)."""
    d = 2 + p * p - q * q
    root = math.sqrt(max(d * d - 8 * p * p, 0.0))
    return math.copysign(math.sqrt(max(d - root, 0.0) / 2), p)
