"""Frames as encoded bytes: lossless PNG, one string a frame, so that few can be decoded alone."""

import io
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image


def encode(frames: Iterable[np.ndarray]) -> list[bytes]:
    """PNG bytes of frames uint8 [H, W, 3] (RGB) or [H, W] (ids)."""
    return [_encode_frame(frame) for frame in frames]


def decode(encoded: Sequence[bytes]) -> np.ndarray:
    """Frames of PNG or JPEG bytes: uint8 [T, H, W, 3], or [T, H, W] where they have one channel."""
    return np.stack([np.asarray(Image.open(io.BytesIO(frame))) for frame in encoded])


def _encode_frame(frame: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, format="PNG")
    return buffer.getvalue()
