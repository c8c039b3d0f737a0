"""A MammoDINO-style method for dbtssl: objective ``mammodino``, sampler ``adjacent-slices``, method ``mammodino``."""

from __future__ import annotations

from dbtssl.api import Register, hookimpl

DBTSSL_API = 1


@hookimpl
def register_components(register: Register) -> None:
    """Name the components; nothing is imported yet."""
    register(
        "objective",
        "mammodino",
        "dbtssl_mammodino.objective:MammoDINO",
        "DINOv2 with tissue-aware crops and masks, and a loss between adjacent slices",
    )
    register(
        "sampler",
        "adjacent-slices",
        "dbtssl_mammodino.sampler:AdjacentSlices",
        "another slice of the same volume, within reach of the anchor",
    )
    register(
        "method",
        "mammodino",
        "dbtssl_mammodino.config:MAMMODINO",
        "DINOv2 on tissue and adjacent slices, after MammoDINO",
    )
