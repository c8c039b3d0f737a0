"""The interfaces that carry the science: sampler, objective, fine-tuner, aggregator, method, source.

The core is written against these protocols and knows no method. Plugin authors import them from `dbtssl.api`.

A component that has settings has them as a class ``Config`` (of `dbtssl.api.Config`) in it. Its constructor takes
``config``, an instance of that class, or (as in the first plugins) each field as a keyword; an objective takes the
encoder before it. A component without settings needs neither.
"""

from __future__ import annotations

from dbtssl.interfaces.abilities import (
    BuildsClassifier,
    FreezesParameters,
    HasHead,
    HasPartner,
    HasPlace,
    ReportsCollapse,
    SaysPublic,
    Trainable,
)
from dbtssl.interfaces.aggregation import Aggregator, Groups, Level
from dbtssl.interfaces.finetuning import FineTuner, Labelled, Run
from dbtssl.interfaces.methods import Method, Reported
from dbtssl.interfaces.pretraining import ExcludedKeys, Objective, Sampler
from dbtssl.interfaces.sources import Expected, FrameReader, RawVolume, Source
from dbtssl.interfaces.views import Batch, Crop, Photometry, Step, ViewSpec

__all__ = [
    "Aggregator",
    "Batch",
    "BuildsClassifier",
    "Crop",
    "ExcludedKeys",
    "Expected",
    "FineTuner",
    "FrameReader",
    "FreezesParameters",
    "Groups",
    "HasHead",
    "HasPartner",
    "HasPlace",
    "Labelled",
    "Level",
    "Method",
    "Objective",
    "Photometry",
    "RawVolume",
    "Reported",
    "ReportsCollapse",
    "Run",
    "Sampler",
    "SaysPublic",
    "Source",
    "Step",
    "Trainable",
    "ViewSpec",
]
