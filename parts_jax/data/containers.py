"""Whether a video file is as long as it says, for the containers whose end decoders do not miss.

RIFF (avi) and Matroska (mkv, webm) files give the length of their parts at the start of each.
"""

import os
import pathlib
from typing import BinaryIO

EBML_HEADER, EBML_SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
RIFF_UNKNOWN = 2 ** 32 - 1  # written by programs that cannot go back to the start


def check_whole(path: str | os.PathLike) -> None:
    """Raises ValueError if an avi, mkv or webm file is shorter than it says."""
    size = os.path.getsize(path)
    with pathlib.Path(path).open("rb") as file:
        declared = max(_riff_size(file), _matroska_size(file))
    if declared > size:
        raise ValueError(f"The video {path} is truncated: it has {size:,} bytes, but says that it "
                         f"has {declared:,}.")


def _riff_size(file: BinaryIO) -> int:
    """The declared bytes of an avi file, which may be a row of RIFF chunks; 0 if it has none."""
    end = 0
    while _read(file, end, 4) == b"RIFF":
        length = int.from_bytes(_read(file, end + 4, 4), "little")
        if length == RIFF_UNKNOWN:
            return 0
        end += 8 + length + length % 2
    return end


def _matroska_size(file: BinaryIO) -> int:
    """The declared bytes of a mkv or webm file; 0 if it is another, or does not say."""
    end = 0
    for element in (EBML_HEADER, EBML_SEGMENT):
        if _read(file, end, 4) != element:
            return 0
        # The zeros before the first one of this byte count the bytes of the length that follow it.
        width = 9 - int.from_bytes(_read(file, end + 4, 1), "big").bit_length()
        ones = 2 ** (7 * width) - 1
        length = int.from_bytes(_read(file, end + 4, width), "big") & ones
        if length == ones:  # unknown, as in a recorded stream
            return 0
        end += 4 + width + length
    return end


def _read(file: BinaryIO, start: int, count: int) -> bytes:
    file.seek(start)
    return file.read(count)
