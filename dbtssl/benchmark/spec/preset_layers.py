"""Which table decides a key of a row: the method, the specification's general tables, the row's preset, its own table.

The later wins. So a preset that a row names is what it says whatever the general tables hold; what still changes it is
told below the table. Fine-tuning is one configuration for all rows: keys that a method brings count only with a
fine-tuner of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic_core import PydanticUndefined

from dbtssl.config import canonical_json
from dbtssl.report.row_differences import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dbtssl.benchmark.spec.specification import RowSpec
    from dbtssl.config import Config
    from dbtssl.interfaces import Method

PRESET_TABLE = {"finetune": "finetuner"}  # a row's table to that of a preset, where they differ
COMMON_FINETUNER = "local-multi-patch"


@dataclass
class Layers:
    """The tables of one row; ``told`` says what changes its preset, and which keys of its method do not count."""

    name: str
    method_name: str
    method: Method
    row: RowSpec | None
    preset: Mapping[str, Mapping[str, Any]]
    told: list[str] = field(default_factory=list)

    def merged(
        self,
        table: str,
        of_method: Mapping[str, Any],
        general: Mapping[str, Any],
        where: str,
        config: type[Config],
    ) -> dict[str, Any]:
        """The keys of ``table``; ``where`` is the heading of ``general`` in the specification."""
        of_preset = self.preset.get(PRESET_TABLE.get(table, table), {})
        own = getattr(self.row, table) if self.row else {}
        concerns = table != "finetune" or of_preset  # fine-tuning is no part of most presets
        if self.row is not None and self.row.preset and concerns:
            alone = {**of_method, **of_preset}
            left = {k: v for k, v in general.items() if k not in of_preset and k not in own}
            self._tell(alone, {where: left, f"method.{self.name}.{table}": own}, config)
        return {**of_method, **general, **of_preset, **own}

    def finetune(self, general: Mapping[str, Any], config: type[Config]) -> dict[str, Any]:
        """The keys of the fine-tuner: the same for all rows, but for a row's preset and its own table."""
        brought = self.method.finetuner_config
        if self.method.finetuner == COMMON_FINETUNER and brought:
            said = ", ".join(f"{key} {shown(value)}" for key, value in brought.items())
            self.told.append(
                f"{self.name}: method {self.method_name} proposes fine-tuning of its own ({said}), which is not used: "
                f"one configuration holds for all rows. [method.{self.name}.finetune] sets it for this row."
            )
            brought = {}
        return self.merged("finetune", brought, general, "finetune", config)

    def other_pairs(self, sampler: str) -> None:
        """Note that a row with a preset has the pairs of ``sampler`` instead of its method's."""
        if self.row is not None and self.row.preset:
            self.told.append(
                f"{self.name} is not wholly preset {self.row.preset} of {self.method_name}: [method.{self.name}] pairs "
                f"{shown(sampler)} (preset: {shown(self.method.sampler)})."
            )

    def _tell(
        self,
        alone: Mapping[str, Any],
        changes: Mapping[str, Mapping[str, Any]],
        config: type[Config],
    ) -> None:
        """Note what is not as the method with the row's preset ``alone`` would have it, and which table changes it."""
        parts = []
        for heading, keys in changes.items():
            changed = []
            for key, value in keys.items():
                before = alone[key] if key in alone else _default(config, key)
                if canonical_json(before) != canonical_json(value):
                    changed.append(f"{key} {shown(value)} (preset: {shown(before)})")
            if changed:
                parts.append(f"[{heading}] {', '.join(changed)}")
        if parts:
            self.told.append(
                f"{self.name} is not wholly preset {self.row.preset if self.row else ''} of {self.method_name}: "
                f"{'; '.join(parts)}."
            )


def _default(config: type[Config], key: str) -> Any:
    known = config.model_fields.get(key)
    value = None if known is None else known.get_default(call_default_factory=True)
    return None if value is PydanticUndefined else value
