"""Pairs of the patient for dbtssl: samplers ``medaug`` and ``inter-slice``, and the methods of these names."""

from __future__ import annotations

from dbtssl.api import Register, hookimpl

DBTSSL_API = 1


@hookimpl
def register_components(register: Register) -> None:
    """Name the components; nothing is imported yet."""
    register(
        "sampler",
        "inter-slice",
        "dbtssl_medaug.sampler:InterSlice",
        "a slice of the same volume within reach",
    )
    register(
        "sampler",
        "medaug",
        "dbtssl_medaug.sampler:MedAug",
        "another volume of the same patient, by study and side",
    )
    register(
        "method",
        "inter-slice",
        "dbtssl_medaug.method:INTER_SLICE",
        "MoCo v2 on near slices of one volume, a baseline of SIFT-DBT",
    )
    register(
        "method",
        "medaug",
        "dbtssl_medaug.method:MEDAUG",
        "MoCo v2 on volumes of one patient, as the baseline of SIFT-DBT",
    )
