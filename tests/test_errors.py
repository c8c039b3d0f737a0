from __future__ import annotations

import pickle

import pytest

from dbtssl.errors import ConfigError, DataError, DbtsslError, PluginError


@pytest.mark.parametrize("kind", [ConfigError, DataError, PluginError])
def test_every_error_is_a_dbtssl_error(kind):
    assert issubclass(kind, DbtsslError)


def test_the_text_is_message_and_hint():
    assert str(DataError("no table", hint="download it")) == "no table\nhint: download it"
    assert str(DataError("no table")) == "no table"


def test_an_error_of_a_worker_process_keeps_its_hint():
    sent = pickle.loads(pickle.dumps(DataError("no table", hint="download it")))
    assert (type(sent), sent.message, sent.hint) == (DataError, "no table", "download it")
