"""The scripts of `benchmarks/`, imported as they are when they are run: their folder is on the path."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


def _load(name):
    sys.path.insert(0, str(FOLDER))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(FOLDER))


@pytest.fixture(scope="session")
def phantom_run():
    return _load("phantom_run")


@pytest.fixture(scope="session")
def localisation():
    return _load("phantom_localisation")


@pytest.fixture(scope="session")
def maps():
    return _load("phantom_maps")


@pytest.fixture(scope="session")
def mechanism():
    return _load("phantom_mechanism")


@pytest.fixture(scope="session")
def kinds():
    return _load("phantom_kinds")


@pytest.fixture(scope="session")
def places():
    return _load("phantom_places")


@pytest.fixture(scope="session")
def arithmetic():
    return _load("paper_arithmetic")
