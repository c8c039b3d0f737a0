"""Positive pairs within a volume and within a patient.

`InterSlice` is the baseline of SIFT-DBT (released code, `dataset/BCS_DBT_cls_dataset.py:281-284`). `MedAug` is the rule
of Vu et al., MLHC 2021 (stanfordmlgroup/MedAug at 0db9cd9c, `moco/aihc_utils/custom_datasets.py:52-99`), carried over
from radiographs to volumes: a candidate is a volume, and each of its slices is equally likely.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from dbtssl.api import Config as BaseConfig
from dbtssl.api import SliceRef, neighbours

if TYPE_CHECKING:
    from numpy.random import Generator

    from dbtssl.api import Cohort

Rule = Literal["same", "different", "any"]


class InterSlice:
    """A slice of the same volume within reach, each equally likely, the anchor included.

    Every volume has such slices; in a volume of one slice the positive is the anchor itself.
    """

    class Config(BaseConfig):
        """What near means; the defaults are SIFT-DBT's, with a symmetric window."""

        reach: int = Field(
            default=4, ge=0, description="slices that near reaches to both sides (--positive-range)"
        )
        half_open: bool = Field(
            default=False, description="leave out the last slice above, as the released code does"
        )

    def __init__(self, config: Config) -> None:
        self.config = config

    def positive(self, anchor: SliceRef, cohort: Cohort, rng: Generator) -> SliceRef:
        """Draw the positive of ``anchor``."""
        return near_slice(anchor, self.config.reach, self.config.half_open, cohort, rng)


class MedAug:
    """Another volume of the same patient, each equally likely, and of it any slice.

    Other patients are never drawn. Where the patient has no other volume that fits ``study`` and ``side``, the positive
    is within ``reach`` of the anchor: with reach 0, the default, the anchor itself, as in MedAug.

    The defaults are MedAug's best rule: the same study, both sides, the query itself among the candidates. With
    ``p_partner`` 0.5, ``reach`` 4 and without ``itself`` it is the baseline of SIFT-DBT.
    """

    class Config(BaseConfig):
        """Who may be the positive."""

        study: Rule = Field(
            default="same", description="study of the positive against the anchor's, in a patient"
        )
        side: Rule = Field(
            default="any",
            description="side (left or right) of the positive against the anchor's; MedAug's laterality "
            "is frontal against lateral",
        )
        itself: bool = Field(
            default=True,
            description="the anchor slice is a candidate too, as likely as each volume, as in MedAug's code; "
            "never where study or side must be different",
        )
        p_partner: float = Field(
            default=1.0,
            ge=0,
            le=1,
            description="probability of the candidates, else a slice within reach (SIFT-DBT's baseline: 0.5)",
        )
        reach: int = Field(
            default=0,
            ge=0,
            description="slices that near reaches to both sides; 0 is the anchor itself (SIFT-DBT's baseline: 4)",
        )
        half_open: bool = Field(
            default=False,
            description="leave out the last slice above, as SIFT-DBT's released code does",
        )

    def __init__(self, config: Config) -> None:
        self.config = config
        self.itself = config.itself and "different" not in (config.study, config.side)

    def positive(self, anchor: SliceRef, cohort: Cohort, rng: Generator) -> SliceRef:
        """Draw the positive of ``anchor``."""
        c, volumes = self.config, self.candidates(anchor.volume, cohort)
        if not (rng.random() < c.p_partner and volumes):
            return near_slice(anchor, c.reach, c.half_open, cohort, rng)
        chosen = int(rng.integers(len(volumes) + self.itself))
        if chosen == len(volumes):
            return anchor
        return SliceRef(volumes[chosen], int(rng.integers(cohort[volumes[chosen]].n_slices)))

    def has_partner(self, volume: int, cohort: Cohort) -> bool:
        """Whether the patient has another volume that fits."""
        return bool(self.candidates(volume, cohort))

    def candidates(self, volume: int, cohort: Cohort) -> tuple[int, ...]:
        """The other volumes of the patient that fit ``study`` and ``side``."""
        own = cohort[volume]
        return tuple(
            i
            for i in cohort.same_patient(volume)
            if i != volume
            and _fits(self.config.study, cohort[i].study == own.study)
            and _fits(self.config.side, cohort[i].side == own.side)
        )


def near_slice(
    anchor: SliceRef, reach: int, half_open: bool, cohort: Cohort, rng: Generator
) -> SliceRef:
    """A slice of the anchor's volume within ``reach``, each equally likely, the anchor included."""
    near = neighbours(anchor, reach, cohort, half_open=half_open)
    return SliceRef(anchor.volume, int(rng.integers(near.start, near.stop)))


def _fits(rule: Rule, same: bool) -> bool:
    return rule == "any" or same == (rule == "same")
