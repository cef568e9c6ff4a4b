"""Frames of video files: mp4 and others by PyAV, whose wheel brings its own codecs; gif by PIL.

A file that ends too early, or is damaged in the middle, is an error and never a shorter video. What
is changed within one frame is noticed where the codec or the container lets it be: H.264, H.265,
MPEG and Matroska with checksums do, raw pictures cannot.
"""

import contextlib
import fractions
import io
import itertools
import math
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

import av
import numpy as np
from PIL import Image, ImageSequence

from parts_jax.data.formats import container_parts, declared_size, decoder, limits
from parts_jax.files import whole

SUFFIXES = (".mp4", ".m4v", ".mov", ".3gp", ".mkv", ".webm", ".avi", ".ts", ".m2ts", ".mts", ".mpg",
            ".mpeg", ".gif")
GIF_START = b"GIF8"
FASTEST, SLOWEST = 1000.0, 0.001  # frames a second that are written


def is_video(path: str | os.PathLike) -> bool:
    """Whether the name of a file ends as that of a video or of a gif."""
    return pathlib.Path(path).suffix.lower() in SUFFIXES


def read_video(path: str | os.PathLike, max_frames: int | None = None, *,
               content: bytes | None = None, max_bytes: int = limits.MAX_BYTES) -> np.ndarray:
    """The frames of a video file in the order in which they are shown.

    Args:
      path: the file.
      max_frames: reads only so many from the start, or fewer where the video is shorter; None:
        all.
      content: the bytes of the file where it is not on disk by itself, such as a member of a
        zip; `path` is then only its name in messages.
      max_bytes: of all frames together; see formats/limits.py.

    Returns:
      uint8 [T, H, W, 3], RGB; upright, and not mirrored, where the file says how the camera was
      held; with square pixels.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if the file is no video, is truncated or damaged or cannot be decoded, if it has
        no frames, if they differ in size, or if they take more than max_bytes.
    """
    video = []
    frames = iter_frames(path, content=content, max_bytes=max_bytes)
    for frame in itertools.islice(frames, max_frames):
        video.append(frame)
        limits.check_declared(path, len(video) * frame.nbytes, max_bytes)
    if not video:
        raise ValueError(f"The file {path} has no frames to read; it may be truncated.")
    sizes = sorted({frame.shape[:2] for frame in video})
    if len(sizes) > 1:
        raise ValueError(f"All frames of a video must have the same size, but {path} has frames of "
                         f"{' and '.join(f'{height}x{width}' for height, width in sizes)} pixels.")
    return np.stack(video)


def iter_frames(path: str | os.PathLike, *, content: bytes | None = None,
                max_bytes: int = limits.MAX_BYTES) -> Iterator[np.ndarray]:
    """Yields the frames of a video file one by one, uint8 [H, W, 3]: for videos of any length.

    Args and raises as `read_video`, but max_bytes is that of one frame; an error comes when what
    is wrong is reached.
    """
    count = 0
    with _opened(path, content) as (path, file):
        blocks = check_parts(path, file)
        is_gif = _is_gif(file)
        with _named(path, lambda: f"cannot be decoded past its first {count} frames"):
            for frame in _gif_frames(path, file, max_bytes) if is_gif else \
                    decoder.iter_decoded(path, file, max_bytes, blocks):
                yield frame
                count += 1


def check_parts(path: str | os.PathLike, file: BinaryIO) -> dict[int, int]:
    """Raises ValueError for what can be seen of damage without decoding.

    Args:
      path: the name of the file in messages.
      file: the file itself; its position is moved.

    Returns:
      See `container_parts.check_unbroken`.
    """
    with _named(path, lambda: "cannot be read"):
        declared_size.check_whole(path, file)
        return container_parts.check_unbroken(path, file)


def frame_rate(path: str | os.PathLike) -> float | None:
    """Frames a second as a video file says, on average; None where it does not say.

    Raises:
      FileNotFoundError, ValueError: as `read_video`.
    """
    next(iter_frames(path), None)  # says what is wrong with the file, if anything is
    with _opened(path, None) as (path, file), _named(path, lambda: "cannot be read"):
        if _is_gif(file):
            with Image.open(file, formats=("GIF",)) as picture:
                milliseconds = picture.info.get("duration", 0)
            return 1000.0 / milliseconds if milliseconds else None
        return decoder.frame_rate(file)


@contextlib.contextmanager
def _opened(path: str | os.PathLike, content: bytes | None) -> Iterator[tuple[str, BinaryIO]]:
    """The name of a video, with the home folder for ~, and its bytes as an open file."""
    path = os.path.expanduser(os.fspath(path))
    if content is None and not os.path.isfile(path):
        raise FileNotFoundError(f"There is no video file {path}.")
    if (os.path.getsize(path) if content is None else len(content)) == 0:
        raise ValueError(f"The video {path} is empty.")
    with open(path, "rb") if content is None else io.BytesIO(content) as file:
        yield path, file


@contextlib.contextmanager
def _named(path: str | os.PathLike, problem: Callable[[], str]) -> Iterator[None]:
    """Turns whatever PIL, PyAV and others raise at bad bytes into a sentence that names the file.

    They raise nearly anything: OSError, EOFError, IndexError, SyntaxError, struct.error,
    DecompressionBombError, MemoryError, OverflowError, and classes of their own.
    """
    try:
        yield
    except Exception as error:
        if type(error) is ValueError and str(path) in str(error):
            raise  # it is such a sentence
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ValueError(f"The video {path} {problem()}: it is truncated, damaged or of an unknown "
                         f"kind ({said}).") from error


def _is_gif(file: BinaryIO) -> bool:
    file.seek(0)
    start = file.read(len(GIF_START))
    file.seek(0)
    return start == GIF_START


def _gif_frames(path: str, file: BinaryIO, max_bytes: int) -> Iterator[np.ndarray]:
    """By PIL: FFmpeg leaves out frames of gifs that give no durations."""
    with Image.open(file, formats=("GIF",)) as picture:
        limits.check_declared(f"A frame of the video {path}", 4 * math.prod(picture.size),
                              max_bytes)
        for frame in ImageSequence.Iterator(picture):
            yield np.asarray(frame.convert("RGB"))


@contextlib.contextmanager
def open_writer(path: str | os.PathLike, frames_per_second: float):
    """Writes a video file frame by frame: H.264 in .mp4, or .gif.

        with open_writer("out.mp4", 25.0) as append:
            append(frame)  # uint8 [H, W, 3], all of one size

    The file is there once all is written; after an error there is none.

    Raises:
      ValueError: if the name ends otherwise, or frames_per_second is not from 0.001 to 1000.
    """
    path = pathlib.Path(os.path.expanduser(path))
    writers = {".mp4": _mp4_writer, ".gif": _gif_writer}
    if path.suffix.lower() not in writers:
        raise ValueError(f"Videos are written as {' or '.join(writers)}; got {str(path)!r}.")
    if not SLOWEST <= frames_per_second <= FASTEST:
        raise ValueError("The frames a second must be above 0; got "
                         f"{frames_per_second}. Allowed are {SLOWEST:g} to {FASTEST:g}.")
    with (whole.replacing(path) as part,
          writers[path.suffix.lower()](part, frames_per_second) as append):
        yield append


@contextlib.contextmanager
def _mp4_writer(path: pathlib.Path, frames_per_second: float) -> Iterator[Callable]:
    rate = fractions.Fraction(frames_per_second).limit_denominator(1001)
    # With its protocol before it, a name may have colons.
    with av.open(f"file:{path}", "w", format="mp4", options={"movflags": "faststart"}) as container:
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
