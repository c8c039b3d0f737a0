"""The common objectives over lightly's losses and heads, each with a method of its name."""

from __future__ import annotations

from dbtssl.api import Register, hookimpl

DBTSSL_API = 1

_OBJECTIVES = {  # name -> class, summary; the module is named like the objective, the method like both
    "simclr": ("SimCLR", "contrast of two views within the batch"),
    "byol": ("BYOL", "predict a momentum target's projection, without negatives"),
    "simsiam": ("SimSiam", "predict the other view's projection behind a stop-gradient"),
    "barlow-twins": ("BarlowTwins", "cross-correlation of two views' features to the identity"),
    "vicreg": ("VICReg", "invariance, variance and covariance terms"),
    "dino": ("DINO", "self-distillation over global and local crops"),
    "densecl": ("DenseCL", "contrast of whole images and of matched places"),
    "lejepa": ("LeJEPA", "views at one place of an isotropic Gaussian (SIGReg)"),
}


@hookimpl
def register_components(register: Register) -> None:
    """Name the components; nothing is imported yet."""
    for name, (cls, summary) in _OBJECTIVES.items():
        module = name.replace("-", "_")
        register("objective", name, f"{__name__}.{module}:{cls}", summary)
        register("method", name, f"{__name__}.methods:{module.upper()}", f"{cls} on single slices")
