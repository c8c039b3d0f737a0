"""The table as JSON, for machines: shares in [0, 1], null where there is no value, the reason beside it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

if TYPE_CHECKING:
    from dbtssl.report.table import Table


def table_json(table: Table) -> str:
    """JSON text that ends in a newline; equal tables give equal text."""
    return (
        json.dumps(asdict(table), indent=1, sort_keys=True, default=_plain, allow_nan=False) + "\n"
    )


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"cannot turn {type(value).__name__} into JSON")
