"""Everything a plugin author imports, by name; importing it loads no torch, a name is loaded on first use.

This page is API 1 (`API_VERSION`), the number that a plugin states as ``DBTSSL_API``: within one number a name that is
here keeps its place, its meaning and its arguments, and names and optional arguments are only added. A change that
breaks a plugin raises the number. Everything of dbtssl outside ``dbtssl.api`` and ``dbtssl.testing`` may change at any
time.

What every plugin needs is here alone; the rest is also in a page of its own: `dbtssl.api.data`, `dbtssl.api.sources`,
`dbtssl.api.objectives` (with samplers and views), `dbtssl.api.finetuning` and `dbtssl.api.evaluation`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtssl.api.table import lazy_names

if TYPE_CHECKING:
    from pydantic import Field as Field

    from dbtssl.api.data import *  # noqa: F403
    from dbtssl.api.evaluation import *  # noqa: F403
    from dbtssl.api.finetuning import *  # noqa: F403
    from dbtssl.api.objectives import *  # noqa: F403
    from dbtssl.api.sources import *  # noqa: F403
    from dbtssl.config import Config as Config
    from dbtssl.config import config_of as config_of
    from dbtssl.config import infra as infra
    from dbtssl.errors import ConfigError as ConfigError
    from dbtssl.errors import DataError as DataError
    from dbtssl.errors import DbtsslError as DbtsslError
    from dbtssl.errors import PluginError as PluginError
    from dbtssl.errors import TrainingError as TrainingError
    from dbtssl.interfaces import Method as Method
    from dbtssl.plugins.hookspec import API_VERSION as API_VERSION
    from dbtssl.plugins.hookspec import Register as Register
    from dbtssl.plugins.hookspec import hookimpl as hookimpl
    from dbtssl.progress import progress as progress
else:  # what no type checker reads, so that it knows a name that does not exist
    __all__, __getattr__, __dir__ = lazy_names(__name__)
