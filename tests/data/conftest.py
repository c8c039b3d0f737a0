"""Small DICOM trees in BCS-DBT's layout, written here, and the real files beside the repository where they are."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, generate_uid

COLLECTION = "Breast-Cancer-Screening-DBT"
TOMOSYNTHESIS = "1.2.840.10008.5.1.4.1.1.13.1.3"
WINDOW = (512.0, 512.0)
KEY = ("PatientID", "StudyUID", "View")
CLASSES = ("normal", "actionable", "benign", "cancer")


@pytest.fixture(scope="session")
def real():
    """The folder of real BCS-DBT files."""
    folder = Path(__file__).parents[3] / "shared" / "data" / "bcs-dbt"
    if not folder.is_dir():
        pytest.skip("the real BCS-DBT files are not beside the repository")
    return folder


def breast(side="l", n=6, rows=150, columns=120, seed=0):
    """Frames ``(n, rows, columns)`` of a half ellipse at the chest wall of ``side``, and its mask."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:rows, :columns]
    depth = x if side == "l" else columns - 1 - x
    mask = ((y - 0.45 * rows) / (0.3 * rows)) ** 2 + (depth / (0.6 * columns)) ** 2 < 1
    tissue = 380 + 12 * rng.standard_normal((n, rows, columns)) + 60 * (y < 0.45 * rows)
    return np.where(mask, tissue, 3).clip(0, 1023).astype(np.uint16), mask


def write_dicom(
    path,
    frames,
    *,
    compress=False,
    window="shared",
    **fields,
):
    """Write ``frames`` as one tomosynthesis file; ``fields`` replace or, if None, remove top-level elements."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = TOMOSYNTHESIS
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid(
        entropy_srcs=[str(path)]
    )
    ds.PatientName = ds.PatientID = "SECRET-NAME"
    ds.Modality = "MG"
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.NumberOfFrames, ds.Rows, ds.Columns = frames.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 10, 9, 0
    shared, first = Dataset(), Dataset()
    place = {"shared": shared, "per-frame": first, "top": ds}.get(window)
    if place is not None:
        lut = ds if place is ds else Dataset()
        lut.WindowCenter, lut.WindowWidth = WINDOW
        if place is not ds:
            place.FrameVOILUTSequence = [lut]
    ds.SharedFunctionalGroupsSequence = [shared]
    ds.PerFrameFunctionalGroupsSequence = [first]
    ds.PixelData = frames.astype("<u2").tobytes()
    if compress:
        ds.compress(JPEG2000Lossless)
    for name, value in fields.items():
        if value is None:
            delattr(ds, name)
        else:
            setattr(ds, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, ds, enforce_file_format=True)
    return path


def write_csv(path, rows, line_end="\n", index=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as f:
        writer = csv.writer(f, lineterminator=line_end)
        for i, row in enumerate(rows):
            writer.writerow([("" if i == 0 else i - 1), *row] if index else row)


class Tree:
    """A BCS-DBT folder in the making: volumes are added, then `tables` writes the three CSV files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.labels = [[*KEY, *(name.title() for name in CLASSES)]]
        box = ["Slice", "X", "Y", "Width", "Height", "Class", "AD", "VolumeSlices"]
        self.boxes = [[*KEY, "Subject", *box]]
        self.paths = [[*KEY, "descriptive_path", "classic_path"]]

    def add(
        self, patient, view="lcc", label="normal", box=None, n=6, study="S1", rotated=False, **dicom
    ):
        """``box`` is ``(z, x, y, width, height)``; abnormal volumes have one by default."""
        seed = (
            int("".join(c for c in patient if c.isdigit()) or 0) * 8
            + "lr".index(view[0]) * 4
            + len(view)
        )
        frames, _ = breast(view[0], n=n, seed=seed)
        path = f"{COLLECTION}/{patient}/1.2.{study}/1.3.{view}/1-1.dcm"
        write_dicom(self.root / path, frames[:, ::-1, ::-1] if rotated else frames, **dicom)
        self.labels.append([patient, study, view, *(int(c == label) for c in CLASSES)])
        self.paths.append([patient, study, view, "", path])
        if label in ("benign", "cancer"):
            z, *place = box or (n // 2, 20 if view[0] == "l" else 80, 50, 16, 12)
            self.boxes.append([patient, study, view, 0, z, *place, label, 0, n])
        return self

    def tables(self, split="train", name="BCS-DBT-{kind}-{split}-v2.csv", **how):
        for kind, rows in (
            ("labels", self.labels),
            ("boxes", self.boxes),
            ("file-paths", self.paths),
        ):
            write_csv(self.root / name.format(kind=kind, split=split), rows, **how)
        return self.root


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path / "bcs")


@pytest.fixture
def small_tree(tree):
    """Four patients, six volumes; two volumes are stored rotated."""
    tree.add("P1", "lcc", "cancer").add("P1", "lmlo", "cancer", rotated=True)
    tree.add("P2", "rcc", "benign", n=5).add("P3", "rmlo", rotated=True)
    tree.add("P4", "lcc").add("P5", "rcc", "actionable")
    tree.tables()
    return tree


PEAK = """
import re
from pathlib import Path

def peak():
    return 1024 * int(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


@pytest.fixture(scope="session")
def peak_memory():
    """Source of ``peak()``, the most bytes of memory that its process has had.

    Not ``ru_maxrss``: Linux lets a process begin with what its parent has had, and pytest may have had anything.
    """
    if not Path("/proc/self/status").exists():
        pytest.skip("the peak of a process' memory is known on Linux only")
    return PEAK


@pytest.fixture(scope="session")
def dicom_writer():
    return write_dicom


@pytest.fixture(scope="session")
def make_breast():
    return breast


@pytest.fixture(scope="session")
def tree_at():
    return Tree
