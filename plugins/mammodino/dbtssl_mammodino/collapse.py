"""When a run has collapsed: the features that are kept are one vector, whatever the image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dbtssl.api import one_vector

if TYPE_CHECKING:
    from collections.abc import Mapping


def collapse(means: Mapping[str, float], prototypes: int, width: int) -> str:
    """One sentence where the epoch's ``means`` of the log show a collapse, else empty.

    It is judged by the teacher's ``width`` features, which are what is kept. DINO collapses to one prototype or to all
    alike (its section 5.3); either way its distributions tell nothing of the image, and its entropy says which way.
    KoLeo can hold the features apart all the same, and new networks tell as little, so that this alone is no verdict.
    """
    what = one_vector(means["feature_std"], width)
    if not what:
        return ""
    told, entropy = max(means["teacher_information"], 0.0), means["teacher_entropy"]
    return (
        f"{what}; RankMe is {means['rankme']:.2f}, and the teacher's prototypes tell {told:.1g} nats of the image, "
        f"with an entropy of {entropy:.2f} of at most {math.log(prototypes):.2f}"
    )
