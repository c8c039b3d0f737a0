from __future__ import annotations

import os
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dbtssl.data.deidentify import Privacy, key_path, load_key, privacy_of, pseudonym
from dbtssl.data.preparation.prepare import PrepareConfig
from dbtssl.data.prepared.prepared_dataset import read_manifest, write_dataset
from dbtssl.data.records import Label, Volume
from dbtssl.data.sources.bcs_dbt import BcsDbt
from dbtssl.data.sources.phantom_source import Phantom
from dbtssl.data.sources.slice_folder import SliceFolder
from dbtssl.errors import DataError, PluginError
from dbtssl.interfaces import RawVolume

KEY = bytes(31) + b"\x01"


@pytest.fixture
def config(tmp_path, monkeypatch):
    """The user's configuration folder, an empty one."""
    folder = tmp_path / "config"
    monkeypatch.setattr("platformdirs.user_config_path", lambda name: folder / name)
    return folder


def raw(patient="Jane", study="2001", view="lcc", path="/mnt/Jane Doe/lcc/1-1.dcm"):
    return RawVolume(Volume(patient, study, view, 1, 1, 1, Label.NORMAL), Path(path))


def test_a_pseudonym_is_the_beginning_of_an_hmac():
    """Reference: printf 'patient\\0P1' | openssl dgst -sha256 -mac HMAC -macopt hexkey:00...01."""
    assert pseudonym(KEY, "patient", "P1") == "p4eaa63c99ddd734d"


def test_kinds_values_and_keys_do_not_mix():
    names = {
        pseudonym(k, kind, v)
        for k in (KEY, b"x" * 32)
        for kind in ("patient", "study")
        for v in "ab"
    }
    assert len({name[1:] for name in names}) == 8
    assert all(re.fullmatch(r"[ps][0-9a-f]{16}", name) for name in names)


def test_a_short_key_is_refused():
    with pytest.raises(DataError, match="has 3 bytes, expected 32"):
        pseudonym(b"abc", "patient", "P1")


def test_the_key_is_made_once_for_its_owner_alone(config):
    key = load_key()
    path = key_path()
    assert path == config / "dbtssl" / "pseudonym.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(key) == 32
    assert load_key() == key
    assert [p.name for p in path.parent.iterdir()] == ["pseudonym.key"]


def test_two_keys_differ(tmp_path):
    assert load_key(tmp_path / "a") != load_key(tmp_path / "b")


def test_processes_that_start_together_get_one_key(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(load_key, [tmp_path / "sub" / "key"] * 32))
    assert len(keys) == 1


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_key_that_others_can_read_is_refused(config, mode):
    load_key()
    key_path().chmod(mode)
    with pytest.raises(DataError, match="can be read by others") as error:
        load_key()
    assert "chmod 600" in error.value.hint


@pytest.mark.parametrize(
    "text", ["", "00" * 31, "00" * 33, "zz" * 32, "\N{LATIN SMALL LETTER E WITH ACUTE}"]
)
def test_a_file_without_a_key_is_refused_and_kept(tmp_path, text):
    path = tmp_path / "key"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    with pytest.raises(DataError, match="holds no key: expected 64 hexadecimal digits"):
        load_key(path)
    assert path.read_text(encoding="utf-8") == text


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be used") as error:
        load_key(tmp_path / "file" / "key")
    assert "--keep-ids" in error.value.hint


@pytest.mark.parametrize(
    "source",
    [BcsDbt(), Phantom(), SimpleNamespace(public=True)],
    ids=["bcs-dbt", "phantom", "other"],
)
@pytest.mark.parametrize("keep_ids", [True, False])
def test_public_ids_stay_and_no_key_is_made(config, source, keep_ids):
    raws = [raw()]
    privacy = privacy_of(source, keep_ids=keep_ids)
    assert (privacy.apply(raws), privacy.kind) == (raws, "published")
    assert not config.exists()


@pytest.mark.parametrize("said", ["yes", 1, None])
def test_a_source_says_yes_or_no(said):
    with pytest.raises(PluginError, match=r"public is .*, expected True or False"):
        privacy_of(SimpleNamespace(public=said))


def test_ids_are_kept_where_that_is_asked_for(config):
    privacy = privacy_of(SliceFolder(), keep_ids=True)
    assert (privacy.apply([raw()]), privacy.kind) == ([raw()], "kept")
    assert not config.exists()


@pytest.mark.parametrize(
    "source", [SliceFolder(), SimpleNamespace(public=False)], ids=["slices", "hospital"]
)
def test_other_ids_become_pseudonyms(config, source):
    raws = [raw(), raw(view="rcc"), raw(study="2002"), raw(patient="Ann")]
    privacy = privacy_of(source)
    assert privacy.kind == "hashed"
    ids = [privacy.apply([one])[0].volume for one in raws]
    assert ids[0].patient == ids[1].patient == ids[2].patient != ids[3].patient
    assert ids[0].study == ids[1].study != ids[2].study
    assert ids[0].study != ids[3].study, "the same study number of two patients is two studies"
    assert [v.view for v in ids] == ["lcc", "rcc", "lcc", "lcc"]
    assert not re.search("Jane|Ann|2001|2002", " ".join(v.id for v in ids))
    assert ids[0] == privacy_of(source).apply(raws[:1])[0].volume


def test_the_order_of_names_is_not_told_and_files_stay_with_their_volumes(config):
    raws = [raw(patient=f"Name{i:02d}", path=f"/data/{i:02d}.dcm") for i in range(20)]
    privacy = privacy_of(SliceFolder())
    made = privacy.apply(raws)
    assert [m.volume.id for m in made] == sorted(m.volume.id for m in made)
    assert [m.path for m in made] != [r.path for r in raws]
    of_file = {m.path: m.volume.patient for m in made}
    for one in raws:
        assert of_file[one.path] == privacy.apply([one])[0].volume.patient


def test_the_key_is_not_shown():
    assert "key" not in repr(Privacy(public=False, key=KEY))


def test_words_hold_no_path():
    text = (
        "/mnt/Jane Doe/lcc/1-1.dcm: cut off; 1-1.dcm of /mnt/Jane Doe/lcc is short, 11-1.dcm is not"
    )
    private = Privacy(public=False, key=KEY)
    expected = "its file: cut off; its file of its folder is short, 11-1.dcm is not"
    assert private.words(text, raw()) == private.shown(text, raw()) == expected
    public = Privacy(public=True)
    assert public.words(text, raw()) == expected, "no path is written, whatever the source"
    assert public.shown(text, raw()) == text


def test_the_root_folder_is_no_secret():
    assert Privacy(public=False).words("a / b", raw(path="/x.dcm")) == "a / b"


@pytest.mark.parametrize(
    ("patients", "config", "expected"),
    [
        (["DBT-P00001", "DBT-P00002"], {}, "published"),
        (["p0123456789abcdef", "pfedcba9876543210"], {}, "hashed"),
        (["Jane"], {"keep_ids": True}, "kept"),
    ],
)
def test_an_older_data_set_tells_by_its_patients_what_its_ids_are(
    tmp_path, patients, config, expected
):
    volumes = [Volume(p, "S1", "lcc", 1, 4, 4, Label.NORMAL) for p in patients]
    arrays = [np.ones((1, 4, 4), dtype=np.uint16)] * len(volumes)
    dataset = write_dataset(tmp_path, volumes, arrays, config=PrepareConfig(**config))
    assert "ids" not in read_manifest(tmp_path)
    assert dataset.ids == expected
