"""Frames as encoded bytes: lossless PNG, one string a frame, so that few can be decoded alone."""

import io
import struct
import zlib
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image

FORMATS = ("PNG", "JPEG")  # the only readers of PIL's that are used: others start programs
PNG_START = b"\x89PNG\r\n\x1a\n"
PNG_HEAD = 25  # bytes, of which the last are the bits a channel
# What PIL raises at bad bytes beside OSError, SyntaxError and ValueError.
OTHER_ERRORS = (ArithmeticError, EOFError, LookupError, MemoryError, RuntimeError, struct.error,
                zlib.error, Image.DecompressionBombError, Image.DecompressionBombWarning)


def encode(frames: Iterable[np.ndarray]) -> list[bytes]:
    """PNG bytes of frames uint8 [H, W, 3] (RGB) or [H, W] (ids)."""
    return [_encode_frame(frame) for frame in frames]


def decode(encoded: Sequence[bytes]) -> np.ndarray:
    """Frames of PNG or JPEG bytes: uint8 [T, H, W, 3], or [T, H, W] where they have one channel.

    Raises:
      OSError, SyntaxError: PIL's, if bytes are no such picture, or are truncated.
      ValueError: if they are otherwise bad, have 16 bits a channel in colour, or differ in size.
    """
    return np.stack([_decode_frame(frame) for frame in encoded])


def png_bits(head: bytes) -> int:
    """Bits a channel of a PNG file that starts so; 0 of others. PIL tells it of grey ones only."""
    return head[PNG_HEAD - 1] if head.startswith(PNG_START) and len(head) >= PNG_HEAD else 0


def check_png(content: bytes) -> None:
    """Raises ValueError if a chunk of a PNG has not its checksum: PIL skips those of pixels."""
    at, kind = len(PNG_START), b""
    while kind != b"IEND":
        length, kind = int.from_bytes(content[at:at + 4], "big"), content[at + 4:at + 8]
        end = at + 8 + length
        if end + 4 > len(content):
            raise ValueError("the file ends before its picture does")
        if zlib.crc32(content[at + 4:end]).to_bytes(4, "big") != content[end:end + 4]:
            raise ValueError(f"the checksum of its part at byte {at} is wrong")
        at = end + 4


def _decode_frame(encoded: bytes) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as picture:
            if picture.mode.startswith("RGB") and png_bits(encoded[:PNG_HEAD]) > 8:
                raise ValueError("A picture in colour must have 8 bits a channel; one has 16.")
            return np.asarray(picture)
    except OTHER_ERRORS as error:
        raise ValueError(f"A picture cannot be decoded ({str(error) or type(error).__name__})."
                         ) from error


def _encode_frame(frame: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, format="PNG")
    return buffer.getvalue()
