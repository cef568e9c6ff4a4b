"""The frames of a video file by PyAV, with a decoder that stops at the first error.

FFmpeg is made to play whatever there is: by itself it leaves out what it cannot decode, paints
over what is missing, and follows play lists to other files. Here it reads one file of a named kind
of container, and nothing that it doubts is taken for a frame.
"""

import collections
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO

import av
import numpy as np
from absl import logging
from av.sidedata.sidedata import Type
from av.stream import Disposition

from parts_jax.data.formats import limits

# FFmpeg's names of mp4, mov, m4v and 3gp; mkv and webm; avi; ts and m2ts; mpg.
CONTAINERS = ("mov", "matroska", "avi", "mpegts", "mpeg")
STOP_AT_ERRORS = "crccheck+bitstream+buffer+explode"
PICTURES = Disposition.attached_pic | Disposition.still_image | Disposition.timed_thumbnails
# Here each packet gives one frame; elsewhere it may rightly be a part of one, or be never shown.
ONE_FRAME_A_PACKET = ("h264", "hevc", "vp9", "av1", "libdav1d")
ONE_BLOCK_A_PACKET = (*ONE_FRAME_A_PACKET, "vp8", "ffv1", "mjpeg")
WITH_TIMES = ("mov", "matroska")  # packets of all others may lack them
UNEVEN = 1.5  # times the least time between two frames, from which it is said
# Three bytes that H.264 and H.265 never have in a unit, as they would start the next one; and the
# same where units are not told apart by their lengths but by these starts.
NO_UNIT = re.compile(rb"\x00\x00[\x00-\x02]")
NO_STREAM = re.compile(rb"\x00\x00(?:\x00+[^\x00\x01]|\x02)")

# No encoder of these writes so many zeros in a row, and their decoders take them for pictures.
NO_ZEROS, ZEROS = ("vp8", "vp9", "av1", "libdav1d", "qtrle"), bytes(256)


class DamagedError(Exception):
    """What is wrong with a file; who reads it adds its name."""


def open_container(file: BinaryIO,
                   max_bytes: int = limits.MAX_BYTES) -> av.container.InputContainer:
    """Opens a video file: one of CONTAINERS, and no other file or address that it may name.

    Raises:
      DamagedError: if it is of another kind, such as a play list or a description of a stream.
      Exception: others of PyAV.
    """
    try:
        return av.open(
            file, metadata_errors="replace", io_open=_open_nothing,
            options=_options(max_bytes),
            container_options={"format_whitelist": ",".join(CONTAINERS),
                               "protocol_whitelist": "none"})
    except av.ArgumentError as error:  # so FFmpeg says that a kind is not on its list
        raise DamagedError("it is none of mp4, mov, 3gp, mkv, webm, avi, ts and mpg") from error


def film(file: BinaryIO, max_bytes: int = limits.MAX_BYTES) -> int | None:
    """The number of the stream that is a file's video; None if there is none.

    It is the largest of those that are no cover, preview or other single picture.
    """
    with open_container(file, max_bytes) as container:
        streams = [stream for stream in container.streams.video
                   if not stream.disposition & PICTURES]
        streams.sort(reverse=True, key=lambda stream: (
            (stream.width or 0) * (stream.height or 0),
            bool(stream.disposition & Disposition.default), -stream.index))
        if len(streams) < 2:
            return streams[0].index if streams else None
        packets = collections.Counter()
        for packet in container.demux(streams):
            packets[packet.stream_index] += packet.size > 0
            if packets[streams[0].index] > 1:
                break
        moving = [stream.index for stream in streams if packets[stream.index] > 1]
        return (moving or [streams[0].index])[0]


def frame_rate(file: BinaryIO) -> float | None:
    """Frames a second of a file's video, on average; None where it does not say."""
    number = film(file)
    file.seek(0)
    with open_container(file) as container:
        rate = container.streams[number].average_rate
        return float(rate) if rate else None


def iter_decoded(path: str, file: BinaryIO, max_bytes: int,
                 blocks: Mapping[int, int]) -> Iterator[np.ndarray]:
    """Yields frames uint8 [H, W, 3], RGB, upright, with square pixels.

    Args:
      path: the name of the file in messages.
      file: the file at its start.
      max_bytes: of one frame.
      blocks: see `container_parts.check_unbroken`.

    Raises:
      ValueError: if the file holds no video, or a frame is too large, with the file's name.
      DamagedError: if the decoder doubts a part.
      Exception: others of PyAV.
    """
    number = film(file, max_bytes)
    if number is None:
        raise ValueError(f"The file {path} holds no video.")
    file.seek(0)
    with open_container(file, max_bytes) as container:
        stream = container.streams[number]
        if stream.codec_context is None:
            raise ValueError(f"The video {path} is of a kind for which there is no decoder.")
        stream.codec_context.options = container.options
        aspect = stream.sample_aspect_ratio or 1
        size = _shown_size(stream.width, stream.height, aspect)
        limits.check_declared(f"A frame of the video {path}, {size[0]}x{size[1]} pixels,",
                              3 * math.prod(size), max_bytes)
        times = []
        for frame in _frames(container, stream, blocks):
            times.append(frame.time)
            yield _upright(_picture(frame, aspect), frame)
    _say_uneven(path, times)


def check_jpeg(content: bytes, max_bytes: int) -> None:
    """Raises DamagedError if FFmpeg sees damage in a JPEG file, most of which PIL reads over."""
    codec = av.CodecContext.create("mjpeg", "r")
    codec.options = _options(max_bytes)
    try:
        damaged = any(frame.is_corrupt for frame in codec.decode(av.Packet(content)))
    except av.InvalidDataError as error:
        raise DamagedError("its picture is damaged") from error
    except av.FFmpegError:  # of a kind that FFmpeg does not know, and PIL does
        return
    if damaged:
        raise DamagedError("its picture is damaged")


def _frames(container: av.container.InputContainer, stream: av.VideoStream,
            blocks: Mapping[int, int]) -> Iterator[av.VideoFrame]:
    """What the decoder gives, if it is sure of it; DamagedError otherwise."""
    count, packets, times, interlaced = 0, [], [], False
    for packet in container.demux(stream):
        if packet.is_corrupt:
            raise DamagedError("a part of the file is missing or damaged")
        if packet.size:
            count += 1
            packets += [] if packet.is_discard else [packet.pts]
            _check_units(stream, bytes(packet))
        for frame in packet.decode():
            if frame.is_corrupt:
                raise DamagedError("a frame is damaged")
            times.append(frame.pts)
            interlaced = interlaced or frame.interlaced_frame
            yield frame
    name = stream.codec_context.name
    tracks = [other for other in container.streams if not other.disposition & PICTURES]
    expected = blocks.get(stream.index, 0) if len(tracks) == len(blocks) else 0
    if name in ONE_BLOCK_A_PACKET and count < expected:
        raise DamagedError(f"only {count} of {expected} blocks could be read")
    if (container.format.name.startswith(WITH_TIMES) and name in ONE_FRAME_A_PACKET
            and not interlaced):
        _check_times(packets, times)


def _check_times(packets: Sequence[int | None], frames: Sequence[int | None]) -> None:
    """Raises DamagedError if there are fewer frames than packets that are to be shown.

    What comes before the first frame is what a cut from a longer video cannot show.
    """
    if frames and None not in (*packets, *frames):
        first = min(frames)
        expected = sum(time >= first for time in packets)
        if len(frames) < expected:
            raise DamagedError(f"only {len(frames)} of {expected} frames could be decoded")


def _check_units(stream: av.VideoStream, packet: bytes) -> None:
    """Raises DamagedError if a packet has bytes that no encoder writes there.

    The decoders do not notice them: a sector of zeros becomes a grey patch.
    """
    codec = stream.codec_context
    broken = codec.name in NO_ZEROS and ZEROS in packet
    if codec.name in ("h264", "hevc"):
        broken = _has_broken_units(codec, packet)
    if broken:
        raise DamagedError("a part of the file is overwritten")


def _has_broken_units(codec: av.VideoCodecContext, packet: bytes) -> bool:
    """Of H.264 or H.265: bytes that end a unit in its middle, or units longer than the packet."""
    head = codec.extradata or b""
    place = 4 if codec.name == "h264" else 21
    if head[:1] != b"\1" or len(head) <= place:  # units between start codes, as in ts and avi
        return bool(NO_STREAM.search(packet))
    width = (head[place] & 3) + 1  # ISO/IEC 14496-15: units after their lengths
    at = 0
    while at < len(packet):
        length = int.from_bytes(packet[at:at + width], "big")
        unit = packet[at + width:at + width + length]
        if length == 0 or len(unit) < length or NO_UNIT.search(unit.rstrip(b"\0")):
            return True
        at += width + length
    return False


def _shown_size(width: int, height: int, aspect: float) -> tuple[int, int]:
    """Width and height with square pixels, of frames whose pixels are `aspect` times as wide."""
    return max(round(width * aspect), 1), height


def _picture(frame: av.VideoFrame, aspect: float) -> np.ndarray:
    width, height = _shown_size(frame.width, frame.height, aspect)
    if width == frame.width:
        return frame.to_ndarray(format="rgb24")
    return frame.to_ndarray(format="rgb24", width=width, height=height, interpolation="BICUBIC")


def _upright(picture: np.ndarray, frame: av.VideoFrame) -> np.ndarray:
    """Turns and mirrors a picture [H, W, 3] as its display matrix says, to the nearest quarter.

    The matrix (ISO/IEC 14496-12) is of nine numbers of 32 bits, a b u c d v x y w: a pixel at
    (x, y) is shown at (a x + c y, b x + d y).
    """
    side_data = frame.side_data.get(Type.DISPLAYMATRIX)
    if side_data is None:
        return picture
    a, b, _, c, d = np.frombuffer(side_data, np.int32).astype(np.int64)[:5]
    if abs(a) + abs(d) < abs(b) + abs(c):
        picture, right, down = picture.swapaxes(0, 1), c, b
    else:
        right, down = a, d
    return np.ascontiguousarray(picture[::-1 if down < 0 else 1, ::-1 if right < 0 else 1])


def _say_uneven(path: str, times: list[float | None]) -> None:
    """Says it if frames are not evenly apart in time: the model takes them as if they were."""
    steps = np.diff([time for time in times if time is not None])
    if len(steps) and steps.min() >= 0 and steps.max() > UNEVEN * max(steps.min(), 1e-9):
        logging.warning("The frames of the video %s are from %.3g to %.3g seconds apart. They are "
                        "taken one by one, as if they were evenly apart.", path, steps.min(),
                        steps.max())


def _options(max_bytes: int) -> dict[str, str]:
    """`max_pixels` holds for every size that a stream declares, before memory is taken."""
    return {"err_detect": STOP_AT_ERRORS, "max_pixels": str(min(max_bytes // 3, 2 ** 31 - 1))}


def _open_nothing(url: str, flags: int, options: dict) -> None:
    raise DamagedError(f"it asks for another file or address, {url!r}")
