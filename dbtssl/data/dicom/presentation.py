"""What a header says about how stored values become shown ones: applied, or refused by its name.

Values are read as they are stored and shown through one linear window. Whatever would show them otherwise is looked for
at the top level, in the shared functional groups and in those of each frame (DICOM PS3.3, C.7.6.16 and C.11).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

from pydicom.multival import MultiValue

from dbtssl.data.records import Window

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

PLAIN = {"SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "PixelRepresentation": 0}
RESCALE = {"RescaleSlope": 1.0, "RescaleIntercept": 0.0}
APPLY = (
    "take the series as the archive has it; where it is so there, write it again with {names} as expected and the "
    "pixel values changed accordingly"
)

_SHARED, _PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
_VOI, _TRANSFORM = "FrameVOILUTSequence", "PixelValueTransformationSequence"
_WINDOW = ("WindowCenter", "WindowWidth")
_LUTS = ("ModalityLUTSequence", "PresentationLUTSequence")
_LUT_SHAPES = ("INVERSE", "LIN OD")
_OVERLAY_POSITION = tuple(0x60000102 | group << 16 for group in range(0, 32, 2))
_SHADES = ("MONOCHROME1", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
FIELDS: tuple[str | int, ...] = (
    *_OVERLAY_POSITION,
    *(*PLAIN, *RESCALE, *_WINDOW, *_LUTS, _SHARED, _PER_FRAME),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("PixelSpacing", "VOILUTFunction", "VOILUTSequence", "PresentationLUTShape"),
)


class Fault(NamedTuple):
    """Something that changes pixels and is not applied: which element, what it says, and what was expected."""

    name: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.name} {self.found}"


class Padding(NamedTuple):
    """Stored values from ``low`` to ``high`` are no image and are shown as ``black``."""

    low: int
    high: int
    black: int


def faults(ds: Dataset, n: int, *, windowed: bool = False) -> list[Fault]:
    """Everything in the header of ``n`` frames that changes pixels and is not applied.

    ``windowed`` says that the user gave the window, so that the header's way from values to shades does not matter.
    """
    out = [
        Fault(name, _shown(ds.get(name)), str(value))
        for name, value in PLAIN.items()
        if ds.get(name) != value
    ]
    stored, high = ds.get("BitsStored"), ds.get("HighBit")
    if stored is not None and high is not None and int(high) != int(stored) - 1:
        out.append(Fault("HighBit", f"{high} of {stored} bits stored", f"{int(stored) - 1}"))
    for place, where in _places(ds, n, _TRANSFORM):
        for name, identity in RESCALE.items():
            value = _number(place, name)
            if value is not None and value != identity:
                out.append(Fault(name, f"{value:g}{where}", f"{identity:g}"))
    out += [Fault(name, "", "none") for name in _LUTS if ds.get(name)]
    shape = str(ds.get("PresentationLUTShape") or "")
    if shape in _LUT_SHAPES:
        out.append(Fault("PresentationLUTShape", shape, "IDENTITY"))
    positions = [ds[tag].value for tag in _OVERLAY_POSITION if tag in ds]
    if any(isinstance(position, int) and position > 0 for position in positions):
        out.append(Fault("OverlayBitPosition", f"{max(positions)}, in the pixel data", "0"))
    return _each_once(out if windowed else out + list(_voi(ds, n)))


def window(ds: Dataset, n: int) -> Window | None:
    """The header's window in stored values, of several the first; None where it has none.

    From the shared functional groups, else the top level, else the groups of the first frame.
    """
    shared, *frames = _groups(ds, n)
    for place in (_first(shared, _VOI), ds, *(_first(frame, _VOI) for frame in frames[:1])):
        found = _window_of(place)
        if found is not None:
            return found
    return None


def padding(ds: Dataset, shown: Window, bits: int) -> Padding | Fault | None:
    """The values that are no image, where ``shown`` would not make them black by itself."""
    value, limit = (ds.get(name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit"))
    if not isinstance(value, int):
        return None
    low, high = sorted((value, limit if isinstance(limit, int) else value))
    if high <= shown.low or high < 0:
        return None
    black = min(int(shown.low), (1 << bits) - 1)
    if shown.low < 0:
        found = f"{low} to {high}" if high > low else str(low)
        return Fault("PixelPaddingValue", f"{found} in the window", "values below it")
    return Padding(low, high, black)


def blacken(frame: NDArray[np.uint16], pad: Padding | None) -> NDArray[np.uint16]:
    """The frame with its padding black."""
    if pad is None:
        return frame
    inside = (frame >= max(pad.low, 0)) & (frame <= pad.high)
    if not inside.any():
        return frame
    out = frame.copy()
    out[inside] = pad.black
    return out


def notes(ds: Dataset, n: int) -> tuple[str, ...]:
    """What is odd and does no harm; no text of the header is repeated."""
    out = []
    items = len(ds.get(_PER_FRAME) or ())
    if items not in (0, n):
        out.append(f"the per-frame sequence has {items} items, the volume {n} frames")
    most = 1
    for place, _ in _places(ds, n, _VOI):
        values = [place.get(name) for name in _WINDOW]
        if all(isinstance(value, MultiValue) for value in values):
            most = max(most, len({*zip(*values, strict=False)}))
    if most > 1:
        out.append(f"the header offers {most} windows, the first is taken")
    return tuple(out)


def spacing(ds: Dataset) -> float:
    """Distance of columns in mm (Pixel Spacing, its second value); 0 where the header does not tell."""
    shared = (ds.get(_SHARED) or [None])[0]
    for place in (_first(shared, "PixelMeasuresSequence"), ds):
        value = None if place is None else place.get("PixelSpacing")
        if isinstance(value, MultiValue) and len(value) == 2 and float(value[1]) > 0:
            return float(value[1])
    return 0.0


def _voi(ds: Dataset, n: int) -> Iterator[Fault]:
    """What is not one linear window for all frames."""
    seen: Window | None = None
    for place, where in _places(ds, n, _VOI):
        if place.get("VOILUTSequence"):
            yield Fault("VOILUTSequence", where.strip(), "one window")
        if str(place.get("VOILUTFunction") or "") == "SIGMOID":
            yield Fault("VOILUTFunction", f"SIGMOID{where}", "LINEAR or LINEAR_EXACT")
        if place is ds:  # less than a group's, whatever it says
            continue
        found = _window_of(place)
        if seen is not None and found is not None and found != seen:
            both = (
                f"{found.low:g} to {found.high:g}{where} and {seen.low:g} to {seen.high:g} before"
            )
            yield Fault("WindowCenter and WindowWidth", both, "one window for all frames")
            return
        seen = seen or found


def _window_of(place: Dataset | None) -> Window | None:
    center, width = (None if place is None else _number(place, name) for name in _WINDOW)
    if center is None or width is None or not width > 0:
        return None
    return Window(center - width / 2, center + width / 2)


def _places(ds: Dataset, n: int, sequence: str) -> Iterator[tuple[Dataset, str]]:
    """Where elements of the macro ``sequence`` may stand, and the words for it."""
    yield ds, ""
    for i, group in enumerate(_groups(ds, n)):
        item = _first(group, sequence)
        if item is not None:
            yield item, f" of frame {i}" if i else ""


def _groups(ds: Dataset, n: int) -> list[Dataset | None]:
    """The shared functional groups, and those of the ``n`` frames."""
    shared = (ds.get(_SHARED) or [None])[0]
    return [shared, *(ds.get(_PER_FRAME) or ())[:n]]


def _first(item: Dataset | None, sequence: str) -> Dataset | None:
    items = None if item is None else item.get(sequence)
    return cast("Dataset", items[0]) if items else None


def _number(place: Dataset, name: str) -> float | None:
    """A value, the first where there are several."""
    value = place.get(name)
    if isinstance(value, MultiValue):
        value = value[0] if value else None
    return None if value is None or value == "" else float(value)


def _each_once(found: list[Fault]) -> list[Fault]:
    """One fault for each element, the first; a frame's would be told for every frame."""
    return list({fault.name: fault for fault in reversed(found)}.values())[::-1]


def _shown(value: Any) -> str:
    """A header value that may be shown: a number or a defined term."""
    return str(value) if isinstance(value, int) or value in _SHADES else "of another kind"
