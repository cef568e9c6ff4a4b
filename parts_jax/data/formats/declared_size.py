"""Whether a video file is as long as it says: decoders take a missing end for the end of the video.

RIFF (avi), Matroska (mkv, webm), ISO base media files (mp4, mov) and MPEG's streams (ts, mpg) give
the length of their parts at the start of each. The number of frames that a file declares says less:
it may rightly differ from what is shown (edit lists).
"""

import os
import struct
from typing import BinaryIO

EBML_HEADER, EBML_SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
RIFF_UNKNOWN = 2 ** 32 - 1  # written by programs that cannot go back to the start
MP4_STARTS = (b"ftyp", b"mdat", b"moov", b"free", b"wide", b"skip")


def check_whole(path: str | os.PathLike, file: BinaryIO) -> None:
    """Raises ValueError if an avi, mkv, webm, mp4, mov, ts or mpg file is shorter than it says.

    Args:
      path: its name in the message.
      file: the file itself; its position is moved.
    """
    size = file.seek(0, os.SEEK_END)
    declared = max(find(file) for find in (
        _riff_size, _matroska_size, _mp4_size, _transport_size, _program_size))
    if declared > size:
        raise ValueError(f"The video {path} is truncated: it has {size:,} bytes, but says that it "
                         f"has {declared:,}.")


def _riff_size(file: BinaryIO) -> int:
    """The declared bytes of an avi file, which may be a row of RIFF chunks; 0 if it has none."""
    end = 0
    while read(file, end, 4) == b"RIFF":
        length = int.from_bytes(read(file, end + 4, 4), "little")
        if length == RIFF_UNKNOWN:
            return 0
        end += 8 + length + length % 2
    return end


def _matroska_size(file: BinaryIO) -> int:
    """The declared bytes of a mkv or webm file; 0 if it is another, or does not say."""
    end = 0
    for element in (EBML_HEADER, EBML_SEGMENT):
        if read(file, end, 4) != element:
            return 0
        # The zeros before the first one of this byte count the bytes of the length that follow it.
        width = 9 - int.from_bytes(read(file, end + 4, 1), "big").bit_length()
        ones = 2 ** (7 * width) - 1
        length = int.from_bytes(read(file, end + 4, width), "big") & ones
        if length == ones:  # unknown, as in a recorded stream
            return 0
        end += 4 + width + length
    return end


def _mp4_size(file: BinaryIO) -> int:
    """Where the pictures and the index of an mp4 or mov end (ISO/IEC 14496-12); 0 for others."""
    position = end = 0
    while len(header := read(file, position, 16)) >= 8:
        length, kind = struct.unpack(">I4s", header[:8])
        if position == 0 and kind not in MP4_STARTS:
            return 0
        if length == 1 and len(header) == 16:
            length = struct.unpack(">Q", header[8:])[0]
        if length < 8:  # 0: as far as the file goes
            return end
        position += length
        if kind in (b"mdat", b"moov", b"moof"):
            end = position
    return end


def _transport_size(file: BinaryIO) -> int:
    """Packets of 188 bytes (ISO/IEC 13818-1), or of 192 with their times; 0 for others."""
    size = file.seek(0, os.SEEK_END)
    for packet, sync in ((188, 0), (192, 4)):
        if all(read(file, sync + number * packet, 1) == b"\x47" for number in range(3)):
            return -(-size // packet) * packet
    return 0


def _program_size(file: BinaryIO) -> int:
    """Where the last packet of a mpg file ends (ISO/IEC 13818-1, 11172-1); 0 for others."""
    position = 0
    while (head := read(file, position, 14))[:3] == b"\0\0\1" and len(head) >= 6:
        if position == 0 and head[3] != 0xBA:
            return 0
        if head[3] == 0xBA:  # the head of a pack
            position += 14 + (head[-1] & 7) if head[4] >> 6 == 1 else 12
        elif head[3] > 0xBA:
            position += 6 + int.from_bytes(head[4:6], "big")
        else:
            break
    return position


def read(file: BinaryIO, start: int, count: int) -> bytes:
    """Up to `count` bytes of a file from its byte `start`."""
    file.seek(start)
    return file.read(count)
