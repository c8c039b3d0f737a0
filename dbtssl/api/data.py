"""What a volume, a cohort and a label are, and the slices of a prepared data set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtssl.api.table import lazy_names

if TYPE_CHECKING:
    from dbtssl.data.prepared.prepared_dataset import Slices as Slices
    from dbtssl.data.records import Box as Box
    from dbtssl.data.records import Cohort as Cohort
    from dbtssl.data.records import Label as Label
    from dbtssl.data.records import Rect as Rect
    from dbtssl.data.records import SliceRef as SliceRef
    from dbtssl.data.records import Volume as Volume
    from dbtssl.data.records import Window as Window
    from dbtssl.data.records import neighbours as neighbours
else:  # what no type checker reads, so that it knows a name that does not exist
    __all__, __getattr__, __dir__ = lazy_names(__name__)
