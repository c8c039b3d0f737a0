"""Whether the rows of a benchmark were made alike: what each was made under, and the refusal of ``--strict``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtssl.config import result_fields
from dbtssl.errors import ConfigError
from dbtssl.report.row_differences import Conditions, unlike_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dbtssl.benchmark.resolve import Row
    from dbtssl.interfaces.schedule import PretrainConfig


def conditions(row: Row, volumes: int | None = None) -> Conditions:
    """What ``row`` is made under; ``volumes`` are those of training, None before the data are known.

    Without them images are counted for one volume, and partial batches, which are dropped, count.
    """
    config = row.finetuner.config
    keys = {f"finetune.{key}": value for key, value in result_fields(config).items()}
    backbone = row.backbone
    args = {f"backbone.args.{key}": value for key, value in backbone.args.items()}
    return Conditions(
        finetuning={"finetuner": row.finetuner.name} | keys,
        chosen=tuple(f"finetune.{key}" for key in sorted(config.model_fields_set)),
        encoder={"backbone.name": backbone.name} | args,
        weights=_weights(row),
        images=None if row.pretrain is None else _images(row.pretrain, volumes),
    )


def refuse_unlike(of_rows: Mapping[str, Conditions]) -> None:
    """`ConfigError` where rows differ in more than the method, naming rows and keys."""
    if lines := unlike_rows(of_rows):
        raise ConfigError(
            "--strict: rows differ in more than the method:\n" + "\n".join(f"  {x}" for x in lines),
            hint="give them the same keys, in [finetune], [backbone] and [pretrain]; without --strict such differences "
            "are marked in the table and not tested",
        )


def _weights(row: Row) -> str:
    """Those that its own pretraining begins with; a file by the beginning of its hash, for the path is of a machine."""
    if row.initial is None or row.objective is None:
        return ""
    key = row.initial.key()
    return key["source"] if "source" in key else f"of a file, SHA-256 {key['sha256'][:12]}"


def _images(config: PretrainConfig, volumes: int | None) -> int:
    if volumes is None:
        return config.epochs * config.slices_per_volume
    anchors = volumes * config.slices_per_volume
    return config.epochs * (anchors - anchors % config.batch_size)
