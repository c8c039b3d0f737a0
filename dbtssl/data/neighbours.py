"""Slices near a slice in its own volume."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dbtssl.data.records import Cohort, SliceRef


def neighbours(slice_: SliceRef, reach: int, cohort: Cohort, *, half_open: bool = False) -> range:
    """Slices of the same volume within ``reach`` of ``slice_``, itself included.

    ``reach`` is in slices, not millimetres: BCS-DBT headers carry no spacing. The range is cut at the ends of the
    volume (SIFT-DBT, section 2.2). ``half_open`` leaves out ``z + reach``, as SIFT-DBT's released code does
    (`BCS_DBT_cls_dataset.py:281`).
    """
    n = cohort[slice_.volume].n_slices
    above = slice_.z + reach if half_open else slice_.z + reach + 1
    return range(max(0, slice_.z - reach), max(slice_.z + 1, min(n, above)))
