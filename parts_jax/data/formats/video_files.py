"""Frames of video files: mp4 and others by PyAV, whose wheel brings its own codecs; gif by PIL.

A file that ends too early, or breaks off in the middle, is an error and never a shorter video.
"""

import contextlib
import fractions
import io
import itertools
import os
import pathlib
import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO

import av
import numpy as np
from PIL import Image, ImageSequence

from parts_jax.data.formats import declared_size
from parts_jax.files import whole

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
      uint8 [T, H, W, 3], RGB, upright where the file says how the camera was held.

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
    """Yields the frames of a video file one by one, uint8 [H, W, 3]: for videos of any length.

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
    declared_size.check_whole(path, file)
    file.seek(0)
    with av.open(file) as container:
        if not container.streams.video:
            raise ValueError(f"The file {path} holds no video.")
        for frame in container.decode(video=0):
            picture = frame.to_ndarray(format="rgb24")
            quarters = round(frame.rotation / 90) % 4
            yield np.ascontiguousarray(np.rot90(picture, quarters)) if quarters else picture


def frame_rate(path: str | os.PathLike) -> float | None:
    """Frames a second as a video file says, on average; None where it does not say.

    Raises:
      FileNotFoundError, ValueError: as `read_video`.
    """
    next(iter_frames(path), None)  # says what is wrong with the file, if anything is
    with open(path, "rb") as file:
        if file.read(len(GIF_START)) == GIF_START:
            with Image.open(file) as picture:
                milliseconds = picture.info.get("duration", 0)
            return 1000.0 / milliseconds if milliseconds else None
    with av.open(os.fspath(path)) as container:
        rate = container.streams.video[0].average_rate
    return float(rate) if rate else None


@contextlib.contextmanager
def open_writer(path: str | os.PathLike, frames_per_second: float):
    """Writes a video file frame by frame: H.264 in .mp4, or .gif.

        with open_writer("out.mp4", 25.0) as append:
            append(frame)  # uint8 [H, W, 3], all of one size

    The file is there once all is written; after an error there is none.

    Raises:
      ValueError: if the name ends otherwise, or frames_per_second is not above 0.
    """
    path = pathlib.Path(path)
    writers = {".mp4": _mp4_writer, ".gif": _gif_writer}
    if path.suffix.lower() not in writers:
        raise ValueError(f"Videos are written as {' or '.join(writers)}; got {str(path)!r}.")
    if not frames_per_second > 0:
        raise ValueError(f"The frames a second must be above 0; got {frames_per_second}.")
    with (whole.replacing(path) as part,
          writers[path.suffix.lower()](part, frames_per_second) as append):
        yield append


@contextlib.contextmanager
def _mp4_writer(path: pathlib.Path, frames_per_second: float) -> Iterator[Callable]:
    rate = fractions.Fraction(frames_per_second).limit_denominator(1001)
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "16"})
        stream.pix_fmt = "yuv420p"

        def append(frame: np.ndarray) -> None:
            height, width = frame.shape[:2]  # H.264 with half the colours wants them even
            frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            if not stream.codec_context.is_open:
                stream.height, stream.width = frame.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))

        yield append
        container.mux(stream.encode())


@contextlib.contextmanager
def _gif_writer(path: pathlib.Path, frames_per_second: float) -> Iterator[Callable]:
    images = []
    yield lambda frame: images.append(Image.fromarray(frame))
    images[0].save(path, format="GIF", save_all=True, append_images=images[1:], loop=0,
                   duration=round(1000.0 / frames_per_second), optimize=False)
