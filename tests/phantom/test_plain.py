"""The plain anatomy is what it was before there was another: the same files for the same seed."""

from __future__ import annotations

import hashlib

import numpy as np
import pydicom
import pytest
import torch

from dbtssl.phantom.model.phantom_config import PhantomConfig
from dbtssl.phantom.output.write_cohort import write_cohort

CONFIG = PhantomConfig(patients=3, seed=4, rows=64, spacing=6, anatomy="plain")
# of format 1: every DICOM file and table below the root, names and bytes
FILES = "21fdfbfa4cc2e220d8fb2115c05ed5a68afdd7666974019fc1e8870996481998"
TABLES = "bcbe10004778980d6813532ab68f9f478f88f57638cbec548ec6e604782289c0"
MEASURED_ON = ("2.14.1+cu130", "AVX512")
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
    means = [float(pydicom.dcmread(path).pixel_array.mean()) for path in files]
    np.testing.assert_allclose(means, MEANS, atol=0.02)


@pytest.mark.skipif(
    (torch.__version__, torch.backends.cpu.get_cpu_capability()) != MEASURED_ON,
    reason="the last bit of a Fourier transform depends on torch and the processor",
)
def test_every_byte_is_that_of_format_1(folder):
    files = [*folder.rglob("*.dcm"), *folder.glob("BCS-DBT-*.csv")]
    assert hashed(folder, files) == FILES
