from __future__ import annotations

import pytest

import dbtssl.api


@pytest.mark.parametrize("name", dbtssl.api.__all__)
def test_every_public_name_is_there(name):
    assert getattr(dbtssl.api, name) is not None


def test_names_are_listed_once_and_in_order():
    assert sorted(set(dbtssl.api.__all__)) == sorted(dbtssl.api.__all__) == dir(dbtssl.api)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'Qeue'"):
        _ = dbtssl.api.Qeue
