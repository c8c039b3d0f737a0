"""What is drawn at random once and then fixed: breast, lesion, positioning and technique.

A breast is a unit solid. ``s`` runs from the chest wall (0) to the nipple (1); ``(p, q)`` is a
point of the unit disc across. Lengths are in mm, angles in degrees, attenuation in 1/mm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from dbtssl.phantom.model.pattern import Pattern, Pose

Kind = Literal["circumscribed", "lobulated", "spiculated", "distortion"]
Benign = Literal[
    "lymph-node",
    "axillary-node",
    "cyst",
    "gland-island",
    "fat-island",
    "calcification",
    "mole",
    "marker-ring",
]
Projection = Literal["cc", "mlo"]

HALF_BOX: dict[Kind, float] = {  # half the side of a lesion's box, in its radii
    "circumscribed": 1.2,
    "lobulated": 1.2,
    "spiculated": 1.6,
    "distortion": 2.4,
}

PHOTONS = 3.5e4  # per mm2 and projection behind the breast; 15 projections share about 1.3 mGy
RAMP = 0.35  # 1/mm, where the ramp levels off
FLOOR = 0.16  # the filter at zero frequency, which keeps the anatomy's grey levels
CURVE = (0.290, 1.45)  # display: grey level of a fatty breast in full scales, and exponent
FULL_RAMP, FULL_FLOOR = 0.33, 0.100  # of the full anatomy, calibrated with its display
FULL_CURVE = (0.316, 1.12)


@dataclass(frozen=True, slots=True)
class Breast:
    """What belongs to a breast in any view or year; sizes are those of the compressed CC view."""

    seed: int
    twin: int  # seed of the field that the patient's two breasts share
    density: float = 0.2  # fibroglandular share of the interior
    depth: float = 90.0  # chest wall to nipple
    width: float = 88.0  # half the width along the chest wall
    thickness: float = 59.0
    beta: float = 2.8  # exponent of the tissue's three-dimensional power spectrum
    lobule: float = 11.0  # size of the fat lobules before compression
    roundness: float = 2.2  # exponent of the outline's superellipse
    lean: float = 0.0  # by how much the outline is wider above the nipple than below
    pattern: Pattern | None = None  # none is the plain anatomy


@dataclass(frozen=True, slots=True)
class Rays:
    """The spicules of a lesion: how strong, how long and how thick; the defaults are the plain anatomy's."""

    strength: float = 0.9  # share of the contrast
    reach: tuple[float, float] = (0.75, 1.0)  # range, in half boxes
    beyond: float = 0.0  # mm more
    share: float = 0.10  # thickness, in radii
    least: float = 0.2  # and mm more


@dataclass(frozen=True, slots=True)
class Lesion:
    """A mass or a distortion, anchored in the unit breast and drawn rigid in the compressed one."""

    kind: Kind
    at: tuple[float, float, float]  # (s, p, q)
    radius: float
    contrast: float = 1.0
    spicules: int = 0
    seed: int = 0
    drag: float = 0.0  # how strongly tissue is drawn in, at contrast 1
    core: float = 1.0  # share of the contrast that its middle has
    margin: float = 1.0  # softness of its edge, 1 is sharp
    grip: float = 1.5  # radii over which the drag fades
    rays: Rays = Rays()
    flat: float = 1.0  # how many times flatter than wide it lies under the paddle


@dataclass(frozen=True, slots=True)
class Inclusion:
    """Something in or on a breast that is no lesion, anchored like one."""

    kind: Benign
    at: tuple[float, float, float]  # (s, p, q); of an axillary node see `lymph_nodes`
    radius: float  # mm, the largest half axis
    seed: int = 0  # of its shape


@dataclass(frozen=True, slots=True)
class Innocent:
    """All of a breast that is no lesion: the same law in ill and healthy breasts."""

    inclusions: tuple[Inclusion, ...] = ()
    vessels: int = 0  # seed of the tree
    calcified: bool = False  # whether a vessel's wall is


@dataclass(frozen=True, slots=True)
class Positioning:
    """How the breast lies on the detector in one view."""

    projection: Projection
    left: bool
    roll: float = 0.0  # degrees
    squeeze: float = 1.0  # factor of the thickness
    shift: float = 0.0  # mm along the chest wall
    pull: float = 1.0  # factor of the length brought onto the detector
    pectoral: float = 0.45  # width of the muscle at the top of an MLO view, share of the length
    pose: Pose | None = None  # none is the plain anatomy


@dataclass(frozen=True, slots=True)
class Technique:
    """Exposure, reconstruction kernel and display of one view."""

    photons: float = PHOTONS
    ramp: float = RAMP
    floor: float = FLOOR
    gain: float = 1.0
    gamma: float = 1.0
    curve: tuple[float, float] = CURVE
    seed: int = 0  # of the quantum noise
