"""Where the encoded frames lie in a DICOM file, without reading them (PS3.5, annex A.4)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from dbtssl.data.dicom.codestream import START

if TYPE_CHECKING:
    from typing import BinaryIO

ITEM, END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
PER_FRAME = 1024  # fragments; more are no image


class Fragment(NamedTuple):
    """A run of bytes of the file."""

    start: int
    length: int


class Frames(NamedTuple):
    """The fragments of each frame; ``whole`` says that the sequence of items came to its end."""

    places: tuple[tuple[Fragment, ...], ...]
    whole: bool


def locate(file: BinaryIO, start: int, n: int) -> Frames:
    """Walk the items from ``start`` on, the offset table being the first, and group them into about ``n`` frames.

    A frame is a fragment where there are as many as frames, and else what begins as a codestream with all that follows.
    Offset tables are not needed for that, and so cannot lead astray.
    """
    fragments, whole = _items(file, start, n * PER_FRAME)
    if len(fragments) <= n:
        return Frames(tuple((f,) for f in fragments), whole)
    groups: list[list[Fragment]] = []
    for fragment in fragments:
        file.seek(fragment.start)
        if not groups or file.read(len(START)) == START:
            groups.append([])
        groups[-1].append(fragment)
    return Frames(tuple(map(tuple, groups)), whole)


def read(file: BinaryIO, frame: tuple[Fragment, ...]) -> bytes:
    """The encoded frame."""
    parts = []
    for fragment in frame:
        file.seek(fragment.start)
        parts.append(file.read(fragment.length))
    return b"".join(parts)


def _items(file: BinaryIO, at: int, most: int) -> tuple[list[Fragment], bool]:
    size = file.seek(0, os.SEEK_END)
    found: list[Fragment] = []
    while len(found) <= most:
        file.seek(at)
        head = file.read(8)
        if head[:4] == END:
            return found[1:], True
        length = int.from_bytes(head[4:], "little")
        at += 8 + length
        if head[:4] != ITEM or len(head) < 8 or at > size:
            break
        found.append(Fragment(at - length, length))
    return found[1:], False
