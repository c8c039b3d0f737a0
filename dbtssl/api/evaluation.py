"""For an aggregator, and for the rows that a paper reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtssl.api.table import lazy_names

if TYPE_CHECKING:
    from dbtssl.interfaces import Aggregator as Aggregator
    from dbtssl.interfaces import Groups as Groups
    from dbtssl.interfaces import Level as Level
    from dbtssl.interfaces import Reported as Reported
    from dbtssl.interfaces import Trainable as Trainable
    from dbtssl.methods.reported_rows import sift_dbt_row as sift_dbt_row
else:  # what no type checker reads, so that it knows a name that does not exist
    __all__, __getattr__, __dir__ = lazy_names(__name__)
