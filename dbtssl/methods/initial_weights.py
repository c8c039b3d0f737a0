"""The baselines whose pretraining was done elsewhere: ImageNet, and any file of weights.

Which weights is decided by the row: ``imagenet`` takes timm's of the row's backbone, ``from-weights`` the file that the
row names. `dbtssl.nn.weights` says how three input channels become one.
"""

from __future__ import annotations

from dbtssl.interfaces import Method

IMAGENET = Method(
    summary="ImageNet weights of timm, fine-tuned",
    weights="imagenet",
    reference="timm's default weights of the backbone, or those of the tag in its name",
)
FROM_WEIGHTS = Method(summary="weights of a file, fine-tuned", weights="")
