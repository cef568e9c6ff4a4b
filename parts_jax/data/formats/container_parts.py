"""Whether the parts of a video file follow each other without a gap.

Where a part of a mkv, webm, avi, mp4 or gif is overwritten, demuxers look for the next part that
they know and go on there: the video is shorter, or altered, and nothing says so. Here the parts are
counted off by their declared lengths; in Matroska also by their checksums, where they have some.
"""

import collections
import os
import string
import zlib
from typing import BinaryIO

from parts_jax.data.formats import declared_size

# Matroska (RFC 9559): what stands in a segment, and what in a cluster.
CLUSTER, TRACKS, VOID, CRC = 0x1F43B675, 0x1654AE6B, 0xEC, 0xBF
TRACK, TRACK_NUMBER = 0xAE, 0xD7
IN_SEGMENT = {0x114D9B74, 0x1549A966, TRACKS, CLUSTER, 0x1C53BB6B, 0x1941A469, 0x1043A770,
              0x1254C367, VOID, CRC}
SIMPLE_BLOCK, BLOCK_GROUP, BLOCK = 0xA3, 0xA0, 0xA1
IN_CLUSTER = {0xE7, 0x5854, 0xA7, 0xAB, SIMPLE_BLOCK, BLOCK_GROUP, 0xAF, VOID, CRC}
PIECE = 2 ** 20  # bytes of a checksum that are held at a time
# ISO/IEC 14496-12: the boxes that hold nothing but boxes.
BOXES_OF_BOXES = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf", b"mvex"}
PRINTABLE = frozenset(string.printable.encode()) | {0xA9}  # the sign of copyright, in QuickTime
# RIFF (avi): a chunk that is a list of chunks.
RIFF_LISTS = (b"RIFF", b"LIST")


class _Broken(Exception):
    """At which byte a file stops to be what it was."""


def check_unbroken(path: str | os.PathLike, file: BinaryIO) -> dict[int, int]:
    """Counts off the parts of a mkv, webm, avi, mp4, mov or gif file; of others it does nothing.

    Args:
      path: its name in the message.
      file: the file itself; its position is moved.

    Returns:
      Of Matroska: how many blocks each track has, by its place among the tracks. {} of others.

    Raises:
      ValueError: if the file is damaged between its parts.
    """
    blocks = {}
    size = file.seek(0, os.SEEK_END)
    start = declared_size.read(file, 0, 12)
    try:
        if start[:4] == declared_size.EBML_HEADER:
            blocks = _check_matroska(file, size)
        elif start[:4] == b"RIFF":
            _check_riff(file, 0, size, top=True)
        elif start[4:8] in declared_size.MP4_STARTS:
            _check_boxes(file, 0, size, top=True)
        elif start[:4] == b"GIF8":
            _check_gif(file)
    except _Broken as broken:
        kind = "gif" if start[:3] == b"GIF" else "video"
        raise ValueError(f"The {kind} {path} is truncated or damaged: at byte {broken.args[0]:,} "
                         f"of {size:,} it has not what must follow there.") from broken
    return blocks


def _check_matroska(file: BinaryIO, size: int) -> dict[int, int]:
    _, start, length = _element(file, 0)
    at = start + length
    if declared_size.read(file, at, 4) != declared_size.EBML_SEGMENT:
        raise _Broken(at)
    _, at, length = _element(file, at)
    end = size if length is None else min(at + length, size)
    tracks, blocks = [], collections.Counter()
    while at < end:
        element, start, length = _element(file, at)
        if element not in IN_SEGMENT or (length is None and element != CLUSTER):
            raise _Broken(at)
        if length is not None:
            _check_checksum(file, start, start + length)
        if element == TRACKS:
            tracks += _tracks(file, start, start + length)
        at = _check_cluster(file, start, length, end, blocks) if element == CLUSTER \
            else start + length
    if at != end or not blocks.keys() <= set(tracks):
        raise _Broken(end)
    return {place: blocks[track] for place, track in enumerate(tracks)}


def _tracks(file: BinaryIO, at: int, end: int) -> list[int]:
    """The numbers of the tracks, in order."""
    numbers = []
    while at < end:
        element, content, length = _element(file, at)
        if length is None:
            raise _Broken(at)
        at = content if element == TRACK else content + length
        if element == TRACK_NUMBER:
            numbers.append(int.from_bytes(declared_size.read(file, content, length), "big"))
    return numbers


def _check_cluster(file: BinaryIO, start: int, length: int | None, end: int,
                   blocks: collections.Counter) -> int:
    """Where a cluster ends; one of unknown length ends before the next part of the segment."""
    stop = end if length is None else start + length
    at = start
    while at < stop:
        element, content, part = _element(file, at)
        if length is None and element in IN_SEGMENT - {VOID, CRC}:
            return at
        if element not in IN_CLUSTER or part is None:
            raise _Broken(at)
        if element in (SIMPLE_BLOCK, BLOCK_GROUP):
            blocks[_track(file, element, content)] += 1
        at = content + part
    if at != stop:
        raise _Broken(stop)
    return at


def _track(file: BinaryIO, element: int, content: int) -> int:
    """The number of the track that a block belongs to."""
    while element not in (SIMPLE_BLOCK, BLOCK):
        element, content, length = _element(file, content)
        if length is None:
            raise _Broken(content)
        content += 0 if element == BLOCK else length
    head = declared_size.read(file, content, 2)
    if len(head) < 2 or not head[0] & 0xC0:  # more than 16,000 tracks
        raise _Broken(content)
    return head[0] & 0x7F if head[0] & 0x80 else int.from_bytes(head, "big") & 0x3FFF


def _check_checksum(file: BinaryIO, start: int, end: int) -> None:
    """CRC-32 (RFC 8794): the first child may hold that of all that follow it."""
    if declared_size.read(file, start, 2) != b"\xbf\x84":
        return
    expected = int.from_bytes(file.read(4), "little")
    at, found = start + 6, 0
    while at < end and (piece := declared_size.read(file, at, min(PIECE, end - at))):
        found = zlib.crc32(piece, found)
        at += len(piece)
    if found != expected:
        raise _Broken(start)


def _element(file: BinaryIO, at: int) -> tuple[int, int, int | None]:
    """Number, start of the content, and length (None: unknown) of the EBML element at a byte."""
    head = declared_size.read(file, at, 12)
    number = 9 - head[0].bit_length() if head and head[0] else 9
    if number > 4 or len(head) < number + 1 or not head[number]:
        raise _Broken(at)
    width = 9 - head[number].bit_length()
    ones = 2 ** (7 * width) - 1
    length = int.from_bytes(head[number:number + width], "big") & ones
    return (int.from_bytes(head[:number], "big"), at + number + width,
            None if length == ones else length)


def _check_riff(file: BinaryIO, at: int, end: int, *, top: bool = False) -> None:
    """Chunks of four letters and a length, to an even byte; programs forget the last."""
    while at + 8 <= end:
        head = declared_size.read(file, at, 8)
        if not head[:4].isascii() or not PRINTABLE.issuperset(head[:4]):
            if at % 2 == 0 and PRINTABLE.issuperset(declared_size.read(file, at - 1, 4)):
                at -= 1
                continue
            if top and at > 8 and not any(head) and _only_zeros(file, at, end):
                return
            raise _Broken(at)
        length = int.from_bytes(head[4:], "little")
        if length == declared_size.RIFF_UNKNOWN or (head[:4] in RIFF_LISTS and length == 0):
            return
        if at + 8 + length > end:
            raise _Broken(at)
        if head[:4] in RIFF_LISTS:
            _check_riff(file, at + 12, at + 8 + length)
        at += 8 + length + length % 2


def _check_boxes(file: BinaryIO, at: int, end: int, *, top: bool = False) -> None:
    """Boxes fill the one that they are in; of the file itself, as far as it has pictures."""
    found = set()
    while at + 8 <= end:
        head = declared_size.read(file, at, 16)
        kind, length = head[4:8], int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:], "big")
        if length == 0 and kind == b"mdat" and top:
            return
        if not PRINTABLE.issuperset(kind) or length < 8 or at + length > end:
            # After its last picture a file may have anything, such as the zeros of a copy.
            if top and {b"moov", b"mdat"} <= found and (b"moof" not in found or b"mfra" in found):
                return
            if not top and end - at == 8 and not any(head[:8]):  # QuickTime ends some lists so
                return
            raise _Broken(at)
        if kind in BOXES_OF_BOXES:
            _check_boxes(file, at + 8, at + length)
        found.add(kind)
        at += length


def _check_gif(file: BinaryIO) -> None:
    """The blocks of a gif (GIF89a) to its trailer; what stands after that is nothing of it."""
    head = declared_size.read(file, 0, 13)
    if len(head) < 13:
        raise _Broken(len(head))
    file.seek(13 + _colours(head[10]))
    while (kind := file.read(1)) != b";":
        at = file.tell() - 1
        if kind == b",":
            place = file.read(9)
            if len(place) < 9:
                raise _Broken(at)
            file.seek(_colours(place[8]) + 1, os.SEEK_CUR)  # and the size of the first code
        elif kind == b"!":
            file.seek(1, os.SEEK_CUR)
        elif kind == b"\0":  # some programs end a block twice
            continue
        else:
            raise _Broken(at)
        while count := file.read(1)[:1] or None:
            if count == b"\0":
                break
            file.seek(count[0], os.SEEK_CUR)
        if not count:
            raise _Broken(at)


def _colours(flags: int) -> int:
    """Bytes of a table of colours."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _only_zeros(file: BinaryIO, at: int, end: int) -> bool:
    while at < end and (piece := declared_size.read(file, at, min(PIECE, end - at))):
        if any(piece):
            return False
        at += len(piece)
    return True
