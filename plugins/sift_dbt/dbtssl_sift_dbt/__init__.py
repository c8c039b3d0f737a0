"""SIFT-DBT for dbtssl: sampler ``metadata-pairs``, fine-tuner ``local-multi-patch``, method ``sift-dbt``."""

from __future__ import annotations

from dbtssl.api import Register, hookimpl

DBTSSL_API = 1


@hookimpl
def register_components(register: Register) -> None:
    """Name the components; nothing is imported yet."""
    register(
        "sampler",
        "metadata-pairs",
        "dbtssl_sift_dbt.sampler:MetadataPairs",
        "the other CC/MLO view of the same breast, or a slice within reach",
    )
    register(
        "finetuner",
        "local-multi-patch",
        "dbtssl_sift_dbt.finetuner:LocalMultiPatch",
        "patch classifier with learning rates that fall stage by stage",
    )
    register(
        "method",
        "sift-dbt",
        "dbtssl_sift_dbt.method:SIFT_DBT",
        "MoCo v2 on metadata pairs, then local multi-patch fine-tuning",
    )
