"""Frames of video files: mp4 and others by PyAV, whose wheel brings its own decoders; gif by PIL.

A file that ends too early, or breaks off in the middle, is an error and never a shorter video.
"""

import io
import itertools
import os
import pathlib
import struct
from collections.abc import Iterator
from typing import BinaryIO

import av
import numpy as np
from PIL import Image, ImageSequence

from parts_jax.data import containers

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".gif")
GIF_START, GIF_END = b"GIF8", b"\x3b"
# PyAV's, and all that PIL raises where a file ends or goes wrong.
DECODING_ERRORS = (av.FFmpegError, OSError, EOFError, IndexError, SyntaxError, struct.error)


def is_video(path: str | os.PathLike) -> bool:
    """Whether the name of a file ends as that of a video or of a gif."""
    return pathlib.Path(path).suffix.lower() in SUFFIXES


def read_video(path: str | os.PathLike, max_frames: int | None = None, *,
               content: bytes | None = None) -> np.ndarray:
    """The frames of a video file in the order in which they are shown.

    Args:
        path: the file.
        max_frames: reads only so many from the start, or fewer where the video is shorter; None:
            all.
        content: the bytes of the file where it is not on disk by itself, such as a member of a
            zip; `path` is then only its name in messages.

    Returns:
        uint8 [T,H,W,3], RGB, upright where the file says how the camera was held.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is no video, is truncated or cannot be decoded, if it has no frames,
            or if its frames differ in size.
    """
    video = list(itertools.islice(iter_frames(path, content=content), max_frames))
    if not video:
        raise ValueError(f"The file {path} has no frames to read; it may be truncated.")
    sizes = sorted({frame.shape[:2] for frame in video})
    if len(sizes) > 1:
        raise ValueError(f"All frames of a video must have the same size, but {path} has frames of "
                         f"{' and '.join(f'{height}x{width}' for height, width in sizes)} pixels.")
    return np.stack(video)


def iter_frames(path: str | os.PathLike, *,
                content: bytes | None = None) -> Iterator[np.ndarray]:
    """Yields the frames of a video file one by one, uint8 [H,W,3]: for videos of any length.

    Args and raises as `read_video`; an error comes when what is wrong is reached.
    """
    path = os.fspath(path)
    if content is None and not os.path.isfile(path):
        raise FileNotFoundError(f"There is no video file {path}.")
    if (os.path.getsize(path) if content is None else len(content)) == 0:
        raise ValueError(f"The video {path} is empty.")
    count = 0
    with open(path, "rb") if content is None else io.BytesIO(content) as file:
        is_gif = file.read(len(GIF_START)) == GIF_START
        file.seek(0)
        try:
            for frame in _gif_frames(path, file) if is_gif else _decoded_frames(path, file):
                yield frame
                count += 1
        except DECODING_ERRORS as error:
            raise ValueError(
                f"The video {path} cannot be decoded past its first {count} frames: it is "
                f"truncated, damaged or of an unknown kind ({error}).") from error


def _gif_frames(path: str, file: BinaryIO) -> Iterator[np.ndarray]:
    """By PIL: FFmpeg leaves out frames of gifs that give no durations."""
    if not file.read().rstrip(b"\0").endswith(GIF_END):
        raise ValueError(f"The gif {path} is truncated: the mark of its end is missing.")
    with Image.open(file) as picture:
        for frame in ImageSequence.Iterator(picture):
            yield np.asarray(frame.convert("RGB"))


def _decoded_frames(path: str, file: BinaryIO) -> Iterator[np.ndarray]:
    """By PyAV."""
    containers.check_whole(path, file)
    file.seek(0)
    with av.open(file) as container:
        if not container.streams.video:
            raise ValueError(f"The file {path} holds no video.")
        for frame in container.decode(video=0):
            picture = frame.to_ndarray(format="rgb24")
            quarters = round(frame.rotation / 90) % 4
            yield np.ascontiguousarray(np.rot90(picture, quarters)) if quarters else picture
