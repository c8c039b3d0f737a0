"""Where the densities of breasts come from: the user's table, or what the phantom put where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dbtssl.benchmark.inputs.open_dataset import phantom_root
from dbtssl.data.deidentify import privacy_by
from dbtssl.data.tables.density_table import density_of, read_density
from dbtssl.data.tables.published_tables import Key
from dbtssl.engine.store import file_hash
from dbtssl.errors import DataError
from dbtssl.folders import expanded

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from dbtssl.benchmark.inputs.open_dataset import Data
    from dbtssl.benchmark.spec.specification import Spec

NONE = "no table of densities is given (tasks.density)"


@dataclass(frozen=True)
class Density:
    """The density of each volume of a data set ``(V,)``, nan where unknown; ``missing`` says why all are."""

    values: NDArray[np.float64]
    missing: str = ""


def open_density(spec: Spec, data: Data) -> Density | None:
    """The densities that the tasks of ``spec`` are measured on; None where it asks for no tasks.

    Raises `DataError` for a table that cannot be read, and for one that knows no volume of the data set.
    """
    if spec.tasks is None:
        return None
    cohort = data.dataset.cohort
    path = _file(spec)
    if path is None:
        return Density(np.full(len(cohort), np.nan), NONE)
    if not spec.tasks.density:
        from dbtssl.phantom.output.truth import read_densities  # brings torch

        known = {Key(*breast): share for breast, share in read_densities(path).items()}
    else:
        privacy = privacy_by(data.dataset.ids)
        known = {
            Key(*privacy.ids(key.patient, key.study), key.view): density
            for key, density in read_density(path).items()
        }
    values = np.array([density_of(known, volume) for volume in cohort], dtype=np.float64)
    if np.isnan(values).all():
        raise DataError(
            f"{path}: none of its {len(known)} breasts is one of the data set's {len(cohort)} volumes",
            hint="PatientID and StudyUID are those of the source's own tables, before the data set was prepared",
        )
    return Density(values)


def check_density(spec: Spec) -> None:
    """Refuse a table of densities that cannot be read, before any work is done."""
    if spec.tasks is not None and spec.tasks.density:
        read_density(expanded(spec.tasks.density))


def density_state(spec: Spec) -> tuple[str, ...]:
    """A hash of the file that densities are read from now; empty where there is none."""
    path = _file(spec)
    return (file_hash(path),) if path is not None and path.is_file() else ()


def _file(spec: Spec) -> Path | None:
    """The user's table; else the phantom's own, where its folder is read."""
    if spec.tasks is None:
        return None
    if spec.tasks.density:
        return expanded(spec.tasks.density)
    if spec.data.source != "phantom":
        return None
    from dbtssl.phantom.output.truth import FILE

    root = expanded(spec.data.root) if spec.data.root else phantom_root(spec)
    return path if (path := root / FILE).is_file() else None
