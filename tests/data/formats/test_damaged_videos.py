"""Damaged videos of each kind of container are refused, whole ones are not."""

import io

import av
import numpy as np
import pytest
from PIL import Image

from parts_jax.data.formats import video_files

KINDS = [("mp4", "libx264"), ("mp4", "libx265"), ("mov", "mjpeg"), ("3gp", "mpeg4"),
         ("matroska", "libx264"), ("matroska", "ffv1"), ("webm", "libvpx"), ("webm", "libvpx-vp9"),
         ("avi", "mpeg4"), ("avi", "libx264"), ("avi", "mjpeg"), ("avi", "rawvideo"),
         ("mpegts", "libx264"), ("mpegts", "mpeg2video"), ("mpeg", "mpeg1video")]
PIXELS = {"mjpeg": "yuvj420p", "rawvideo": "bgr24"}


def make_video(num_frames=24, height=64, width=64):  # libx265 crashes at less
    """Noise, so that no part of a file is small, and a light square that moves."""
    rng = np.random.default_rng(0)
    video = rng.normal(90, 9, (num_frames, height, width, 3))
    for t, frame in enumerate(video):
        frame[8:20, t:t + 12] += 100
    return video.clip(0, 255).astype(np.uint8)


def encode(container, codec, video, **options):
    content = io.BytesIO()
    with av.open(content, "w", format=container, options=options) as file:
        stream = file.add_stream(codec, rate=25)
        stream.height, stream.width = video.shape[1:3]
        stream.pix_fmt, stream.bit_rate = PIXELS.get(codec, "yuv420p"), 1_000_000
        for frame in video:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode())
    return content.getvalue()


@pytest.mark.parametrize("container, codec", KINDS)
def test_a_video_with_zeros_in_its_middle_is_refused(container, codec):
    """A quarter of it, or a sector. Raw pictures have no sign of a sector lost in them."""
    whole = encode(container, codec, make_video())
    assert len(video_files.read_video("whole", content=whole)) == 24
    size, middle = len(whole), len(whole) // 2
    for count in (size // 4,) if codec == "rawvideo" else (size // 4, 512):
        damaged = whole[:middle - count // 2] + bytes(count) + whole[middle - count // 2 + count:]
        with pytest.raises(ValueError, match="The video clip .*(damaged|truncated)"):
            video_files.read_video("clip", content=damaged)


@pytest.mark.parametrize("container, codec", KINDS)
def test_a_video_without_its_end_or_its_middle_is_refused(container, codec):
    whole = encode(container, codec, make_video())
    size = len(whole)
    for part in (whole[:size * 2 // 3], whole[:size - 700], whole[:size // 3] + whole[size // 2:]):
        with pytest.raises(ValueError, match="The video clip .*(damaged|truncated)"):
            video_files.read_video("clip", content=part)


def test_a_fragmented_mp4_that_lost_fragments_is_refused():
    whole = encode("mp4", "libx264", make_video(), movflags="frag_every_frame+empty_moov")
    assert len(video_files.read_video("whole", content=whole)) == 24
    start = whole.index(b"moof", len(whole) // 2) - 4
    for lost in (100, len(whole) // 4):
        with pytest.raises(ValueError, match="The video clip is truncated or damaged: at byte"):
            video_files.read_video("clip", content=whole[:start] + bytes(lost)
                                   + whole[start + lost:])


def test_a_checksum_of_matroska_is_checked():
    """One bit within a picture, which no decoder can doubt."""
    whole = bytearray(encode("matroska", "mjpeg", make_video()))
    assert len(video_files.read_video("whole", content=bytes(whole))) == 24
    whole[len(whole) // 2] ^= 1
    with pytest.raises(ValueError, match="The video clip is truncated or damaged: at byte"):
        video_files.read_video("clip", content=bytes(whole))


def test_a_gif_is_followed_to_its_end():
    pictures = [Image.fromarray(frame) for frame in make_video(6)]
    file = io.BytesIO()
    pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:])
    whole = file.getvalue()
    for after in (b"", b"\n", b"\r\n", b"some words"):
        assert len(video_files.read_video("whole", content=whole + after)) == 6
    size = len(whole)
    for damaged in (whole[:-1], whole[:size // 2], whole[:size // 2] + b";",
                    whole[:size * 3 // 8] + bytes(size // 4) + whole[size * 5 // 8:]):
        with pytest.raises(ValueError, match="gif clip is truncated or damaged: at byte"):
            video_files.read_video("clip", content=damaged)


def test_a_block_of_a_track_that_is_not_there_is_noticed():
    """The demuxer leaves the rest of the file out."""
    whole = encode("webm", "libvpx-vp9", make_video())
    start = whole.index(b"\x81\x00\x28\x00")  # the second block: its track, and 40 milliseconds
    damaged = whole[:start] + b"\xcf" + whole[start + 1:]
    with pytest.raises(ValueError, match="The video clip .*(damaged|truncated)"):
        video_files.read_video("clip", content=damaged)


def test_zeros_to_the_end_of_an_avi_are_missed():
    whole = encode("avi", "mpeg4", make_video())
    start = whole.index(b"00dc", len(whole) // 2)
    with pytest.raises(ValueError, match="The video clip is truncated or damaged: at byte"):
        video_files.read_video("clip", content=whole[:start] + bytes(len(whole) - start))
    assert len(video_files.read_video("whole", content=whole + bytes(1000))) == 24
