"""MoCo v2 for dbtssl: objective ``moco-v2``, sampler ``same-slice``, method ``moco-v2``."""

from __future__ import annotations

from dbtssl.api import Register, hookimpl

DBTSSL_API = 1


@hookimpl
def register_components(register: Register) -> None:
    """Name the components; nothing is imported yet."""
    register(
        "objective",
        "moco-v2",
        "dbtssl_moco.objective:MoCoV2",
        "InfoNCE against a queue of keys from a momentum encoder",
    )
    register(
        "sampler",
        "same-slice",
        "dbtssl_moco.sampler:SameSlice",
        "the positive is the same slice, augmented again",
    )
    register(
        "method",
        "moco-v2",
        "dbtssl_moco.method:MOCO_V2",
        "MoCo v2 on single slices, as the baseline of SIFT-DBT",
    )
