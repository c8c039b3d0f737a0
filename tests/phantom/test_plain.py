"""The plain anatomy is what it was before there was another: the same files for the same seed."""

from __future__ import annotations

import hashlib

import numpy as np
import pydicom
import pytest

from dbtssl.phantom.model.phantom_config import PhantomConfig
from dbtssl.phantom.output.write_cohort import write_cohort

CONFIG = PhantomConfig(patients=3, seed=4, rows=64, spacing=6, anatomy="plain")
# of format 1: the tables' names and bytes
TABLES = "bcbe10004778980d6813532ab68f9f478f88f57638cbec548ec6e604782289c0"
# mean of each file's pixels
MEANS = [
    63.784,
    92.111,
    53.608,
    88.124,
    173.303,
    179.469,
    201.525,
    182.208,
    175.293,
    160.933,
    127.014,
    140.322,
]
# and their standard deviations
DEVIATIONS = [
    143.48,
    157.67,
    134.71,
    158.96,
    195.94,
    206.75,
    203.94,
    199.42,
    193.36,
    189.58,
    176.83,
    182.38,
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("plain") / "cohort"
    write_cohort(CONFIG, out, jobs=1)
    return out


def hashed(root, paths):
    found = hashlib.sha256()
    for path in sorted(paths):
        found.update(str(path.relative_to(root)).encode())
        found.update(path.read_bytes())
    return found.hexdigest()


def test_tables_and_names_are_those_of_format_1(folder):
    assert hashed(folder, folder.glob("BCS-DBT-*.csv")) == TABLES


def test_pixels_are_those_of_format_1(folder):
    files = sorted(folder.rglob("*.dcm"))
    pixels = [pydicom.dcmread(path).pixel_array for path in files]
    np.testing.assert_allclose([float(x.mean()) for x in pixels], MEANS, atol=0.02)
    np.testing.assert_allclose([float(x.std()) for x in pixels], DEVIATIONS, atol=0.02)


def test_the_same_seed_gives_the_same_bytes(folder, tmp_path):
    """On one machine: the last bit of a Fourier transform depends on torch and the processor."""
    write_cohort(CONFIG, tmp_path / "again", jobs=1)
    for root in (folder, tmp_path / "again"):
        assert len(list(root.rglob("*.dcm"))) == len(MEANS)
    assert hashed(folder, folder.rglob("*.dcm")) == hashed(
        tmp_path / "again", (tmp_path / "again").rglob("*.dcm")
    )
