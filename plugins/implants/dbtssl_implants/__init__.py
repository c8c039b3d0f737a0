"""Painted objects for dbtssl: objective ``implants``, fine-tuner ``presence``, two methods."""

from __future__ import annotations

from dbtssl.api import Register, hookimpl

DBTSSL_API = 1


@hookimpl
def register_components(register: Register) -> None:
    """Name the components; nothing is imported yet."""
    register(
        "objective",
        "implants",
        "dbtssl_implants.objective:Implants",
        "find objects painted into unlabelled slices",
    )
    register(
        "finetuner",
        "presence",
        "dbtssl_implants.finetuner:Presence",
        "begins from the presence head: as it is, trained on, or the average of both",
    )
    register(
        "method",
        "implants",
        "dbtssl_implants.config:IMPLANTS",
        "painted objects, then fine-tuning from the presence head",
    )
    register(
        "method",
        "implants-no-labels",
        "dbtssl_implants.config:NO_LABELS",
        "painted objects alone: the presence head as it is, no label read",
    )
