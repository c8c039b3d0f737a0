"""CC and MLO of a breast: NT-Xent over the global projections of pairs whose slices are of two volumes.

Two views of a breast share the breast and no place, so that nothing dense can be asked of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtssl_implants.nt_xent import nt_xent

if TYPE_CHECKING:
    import torch


def view_contrast(
    first: torch.Tensor, second: torch.Tensor, temperature: float, counts: torch.Tensor
) -> torch.Tensor:
    """NT-Xent (Chen et al. 2020, equation 1) of the clean crops ``(n, D)`` of two slices each; a scalar.

    ``counts`` ``(n,)`` is true where the slices are of different volumes: the two crops of such a pair are each other's
    positives, those of the other such pairs their negatives; pairs of one volume are left out. 0 for less than two.
    """
    return nt_xent(first, second, temperature, counts)
