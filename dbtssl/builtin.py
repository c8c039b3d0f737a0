"""The core's own components, registered through the same hook as everybody else's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtssl.plugins.hookspec import hookimpl

if TYPE_CHECKING:
    from dbtssl.plugins.hookspec import Register

DBTSSL_API = 1


@hookimpl
def register_components(register: Register) -> None:
    """Name the data sources, the plain aggregators, the paper's small backbone and the baseline methods."""
    register(
        "source",
        "bcs-dbt",
        "dbtssl.data.sources.bcs_dbt:BcsDbt",
        "BCS-DBT as it is downloaded, in any layout",
    )
    register(
        "source",
        "phantom",
        "dbtssl.data.sources.phantom_source:Phantom",
        "the physical phantom of this project",
    )
    register(
        "source",
        "slices",
        "dbtssl.data.sources.slice_folder:SliceFolder",
        "folders of slices (PNG, JPEG, TIFF, DICOM) and one CSV file",
    )
    register(
        "aggregator",
        "mean",
        "dbtssl.evaluation.aggregation.simple:Mean",
        "mean of the probabilities",
    )
    register("aggregator", "max", "dbtssl.evaluation.aggregation.simple:Max", "the largest logit")
    register(
        "aggregator",
        "top-k",
        "dbtssl.evaluation.aggregation.simple:TopK",
        "mean probability of the k largest",
    )
    register(
        "aggregator",
        "noisy-or",
        "dbtssl.evaluation.aggregation.simple:NoisyOr",
        "probability that at least one is abnormal, were they independent",
    )
    register(
        "aggregator",
        "log-sum-exp",
        "dbtssl.evaluation.aggregation.simple:LogSumExp",
        "smooth maximum of the logits",
    )
    register(
        "aggregator",
        "z-run",
        "dbtssl.evaluation.aggregation.simple:ZRun",
        "best mean probability over neighbouring slices",
    )
    register(
        "aggregator",
        "attention",
        "dbtssl.evaluation.aggregation.attention:Attention",
        "gated attention on features, trained on the training patients",
    )
    register(
        "backbone", "cnn7", "dbtssl.nn.cnn7:cnn7", "seven convolutions, the small one of SIFT-DBT"
    )
    register(
        "method",
        "random-init",
        "dbtssl.methods.random_init:METHOD",
        "no pretraining: the floor of the table",
    )
    register(
        "method",
        "imagenet",
        "dbtssl.methods.initial_weights:IMAGENET",
        "weights of timm, trained on ImageNet",
    )
    register(
        "method",
        "from-weights",
        "dbtssl.methods.initial_weights:FROM_WEIGHTS",
        "the weights of a file",
    )
