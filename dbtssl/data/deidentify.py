"""Who a patient is, kept out of what is written: ids as keyed hashes, and messages without the paths of files.

The ids of BCS-DBT, of the phantom and of any source that says so itself (`SaysPublic`) are public and stay. Those of
any other source become the first 64 bits of HMAC-SHA256 under a secret key (RFC 2104). The key is made once for each
user and lies in the user's configuration folder, never in a prepared data set: without it a hash cannot be traced back
by trying ids, and with it a patient has the same hash in every data set.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from dbtssl.data.tables.identifiers import refuse_two_studies
from dbtssl.data.tables.published_tables import Key
from dbtssl.errors import DataError
from dbtssl.folders import user_folder
from dbtssl.interfaces.abilities import has_public_ids
from dbtssl.io import create, make_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from dbtssl.data.splits.split_lists import SplitLists
    from dbtssl.interfaces import RawVolume, Source

Ids = Literal["published", "hashed", "kept"]
"""What a prepared data set holds: the ids of a public source, keyed hashes, or ids that were kept on request."""

KEY_BYTES = 32
DIGITS = 16  # of a pseudonym: among a million patients two share one with a probability of 3e-8
KEY_NAME = "pseudonym.key"


@dataclass(frozen=True)
class Privacy:
    """What is done with ids and messages: nothing for public sources; ``key`` is None where ids are kept."""

    public: bool
    key: bytes | None = field(default=None, repr=False)

    @property
    def kind(self) -> Ids:
        """What becomes of ids, in the word of `dataset.json`."""
        if self.public:
            return "published"
        return "kept" if self.key is None else "hashed"

    def apply(self, raws: Sequence[RawVolume]) -> list[RawVolume]:
        """The same volumes, patient and study under their pseudonyms, and in their order.

        A study's number is unique within its patient only, so it is hashed with the patient's. The order of the ids
        would tell that of the names. Raises `DataError` for an id that is one number in two spellings: hashed, it would
        be two.
        """
        refuse_two_studies(((raw.volume.patient, raw.volume.study) for raw in raws), "the source")
        if self.key is None:
            return list(raws)
        out = []
        for raw in raws:
            patient, study = _ids(self.key, raw.volume.patient, raw.volume.study)
            out.append(replace(raw, volume=replace(raw.volume, patient=patient, study=study)))
        return sorted(out, key=lambda raw: raw.volume.id)

    def ids(self, patient: str, study: str) -> tuple[str, str]:
        """The source's ids of a patient and a study, as those of the volumes that `apply` gives."""
        return (patient, study) if self.key is None else _ids(self.key, patient, study)

    def lists(self, lists: SplitLists) -> SplitLists:
        """Lists by the source's own ids, as lists of the volumes that `apply` gives."""
        if self.key is None:
            return lists
        listed = {
            Key(*_ids(self.key, key.patient, key.study), key.view): row
            for key, row in lists.listed.items()
        }
        return replace(lists, listed=listed)

    def words(self, text: str, raw: RawVolume) -> str:
        """``text`` without the files and folders of ``raw``: what may be written into a prepared data set."""
        folders = {path.parent for path in raw.files}
        for path in (*raw.files, *sorted(folders, key=lambda p: -len(str(p)))):
            if len(path.parts) > 1:
                text = text.replace(str(path), "its file" if path in raw.files else "its folder")
        for name in sorted({path.name for path in raw.files}, key=len, reverse=True):
            text = re.sub(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", "its file", text)
        return text

    def shown(self, text: str, raw: RawVolume) -> str:
        """``text`` for the screen and for logs: as it is for a public source, else `words`."""
        return text if self.public else self.words(text, raw)


def privacy_of(source: Source, *, keep_ids: bool = False) -> Privacy:
    """How the volumes of ``source`` are treated, which says itself whether its ids are public."""
    if has_public_ids(source):
        return privacy_by("published")
    return privacy_by("kept" if keep_ids else "hashed")


def privacy_by(ids: Ids) -> Privacy:
    """How volumes are treated whose ids are ``ids``; the key is read, or made, only where they are hashed."""
    return Privacy(ids == "published", load_key() if ids == "hashed" else None)


def ids_before(patients: Iterable[str], *, keep_ids: bool) -> Ids:
    """What a data set holds whose `dataset.json` is older than its key ``ids``: what its patients look like."""
    if all(re.fullmatch(rf"p[0-9a-f]{{{DIGITS}}}", patient) for patient in patients):
        return "hashed"
    return "kept" if keep_ids else "published"


def _ids(key: bytes, patient: str, study: str) -> tuple[str, str]:
    return pseudonym(key, "patient", patient), pseudonym(key, "study", f"{patient}\0{study}")


def pseudonym(key: bytes, kind: str, value: str) -> str:
    """The keyed hash of ``value``: the first letter of ``kind`` and 16 hexadecimal digits; kinds do not mix."""
    if len(key) < KEY_BYTES:
        raise DataError(f"the key of the pseudonyms has {len(key)} bytes, expected {KEY_BYTES}")
    mac = hmac.new(key, f"{kind}\0{value}".encode(), hashlib.sha256)
    return f"{kind[0]}{mac.hexdigest()[:DIGITS]}"


def key_path() -> Path:
    """Where the key lies: `pseudonym.key` in the user's configuration folder."""
    return user_folder("config") / KEY_NAME


def load_key(path: Path | None = None) -> bytes:
    """The user's key, made at the first call: a file that its owner alone can read (mode 0600).

    Raises `DataError` for a file that others can read, that holds no key, or that cannot be read or written.
    """
    path = key_path() if path is None else path
    try:
        if not path.exists():
            _make(path)
        if os.name == "posix" and path.stat().st_mode & 0o077:
            raise DataError(
                f"the key of the pseudonyms, {path}, can be read by others",
                hint=f"chmod 600 {path}; if somebody may have read it, prepare again under a new key",
            )
        text = path.read_text(encoding="ascii").strip()
        key = bytes.fromhex(text)
    except (ValueError, UnicodeDecodeError):
        key = b""
    except OSError as exc:
        raise DataError(
            f"the key of the pseudonyms, {path}, cannot be used: {exc.strerror}",
            hint="check the folder's rights, or keep the ids with --keep-ids",
        ) from None
    if len(key) != KEY_BYTES:
        raise DataError(
            f"{path} holds no key: expected {2 * KEY_BYTES} hexadecimal digits",
            hint="restore it from a backup; under a new key every patient gets another pseudonym",
        )
    return key


def _make(path: Path) -> None:
    """Write a new key whole or not at all; of two processes that do so at once, the first one's stays."""
    make_folder(path.parent, 0o700)
    create(path, f"{secrets.token_hex(KEY_BYTES)}\n".encode(), 0o600)
