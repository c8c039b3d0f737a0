"""The weights that a row begins with, if they are not random: what decides them, and how they are loaded."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from dbtssl.engine.store import file_hash
from dbtssl.errors import ConfigError
from dbtssl.folders import expanded

if TYPE_CHECKING:
    from torch import nn

    from dbtssl.benchmark.spec.specification import BackboneSpec

OF_TIMM = ("imagenet", "timm")


@dataclass(frozen=True)
class Initial:
    """``imagenet``, ``timm``, or the path of a file, with the SHA-256 of the file or the version of timm."""

    source: str
    decided_by: str

    def key(self) -> dict[str, str]:
        """What decides the result: of a file its content, not its path."""
        if self.source in OF_TIMM:
            return {"source": self.source, "timm": self.decided_by}
        return {"sha256": self.decided_by}

    def load(self, encoder: nn.Module, backbone: BackboneSpec) -> None:
        """Load the weights into ``encoder``, in place."""
        from dbtssl.nn.weights import load_timm_weights, load_weights

        if self.source in OF_TIMM:
            imagenet = self.source == "imagenet"
            load_timm_weights(encoder, backbone.name, backbone.args, imagenet=imagenet)
        else:
            load_weights(encoder, Path(self.source))


def initial(source: str, row: str) -> Initial:
    """Check ``source`` and find what decides its content; a file is read once, for its hash."""
    if source in OF_TIMM:
        return Initial(source, version("timm"))
    if not source:
        raise ConfigError(
            f"row {row!r} has no weights to begin with",
            hint=f'set weights = "PATH.safetensors" below [method.{row}]',
        )
    path = expanded(source)
    if not path.is_file():
        raise ConfigError(
            f"row {row!r}: no such file of weights: {path}",
            hint=f"check the path, or use one of the words {', '.join(OF_TIMM)}",
        )
    return Initial(str(path), file_hash(path))
