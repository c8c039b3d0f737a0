"""From stored values to the display range [0, 1]."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dbtssl.data.records import Window


def apply_window(raw: NDArray[np.generic], window: Window) -> NDArray[np.float32]:
    """Map ``window.low`` to 0 and ``window.high`` to 1 linearly and clip what lies outside; the shape is kept.

    BCS-DBT's windows are linear (DICOM PS3.3 C.11.2.1.3.2, LINEAR_EXACT, which the official reader follows).
    """
    out = raw.astype(np.float32)
    out -= np.float32(window.low)
    out *= np.float32(1.0 / (window.high - window.low))
    return np.clip(out, 0.0, 1.0, out=out)
