"""Video files: what is read is what was written, and what is broken is named."""

import pathlib
import struct

import av
import numpy as np
import pytest
from PIL import Image

from parts_jax.data.formats import video_files

ROTATED = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)  # of the tkhd box
UPRIGHT = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)


def make_video(num_frames=12, height=32, width=48):
    """A light square that moves over a slope of greens and blues, one step a frame."""
    video = np.zeros((num_frames, height, width, 3), np.uint8)
    video[..., 1] = np.linspace(40, 160, height)[:, None]
    video[..., 2] = np.linspace(20, 120, width)
    for t, frame in enumerate(video):
        frame[8:20, 2 * t:2 * t + 12] = (200, 180, 160)
    return video


def write_mp4(path, video, **options):
    """As cameras write it: H.264 of moderate quality; the index at the end, or at the start."""
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "10"})
        stream.height, stream.width = video.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in video:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def cut_file(path, size):
    path.write_bytes(path.read_bytes()[:size])


def end_of_frame(path, index):
    """The byte after a frame's last."""
    with av.open(str(path)) as container:
        entry = container.streams.video[0].index_entries[index]
        return entry.pos + entry.size


@pytest.fixture
def mp4(tmp_path):
    path = tmp_path / "clip.mp4"
    write_mp4(path, make_video(), movflags="faststart")
    return path


def test_an_mp4_is_read_in_order(mp4):
    video = video_files.read_video(mp4)
    assert video.dtype == np.uint8 and video.shape == (12, 32, 48, 3)
    difference = np.abs(video.astype(int) - make_video())
    assert difference.mean() < 3  # Colours have half the resolution there.
    for t, frame in enumerate(make_video()):
        assert np.abs(video - frame.astype(int)).mean((1, 2, 3)).argmin() == t


@pytest.mark.parametrize("options", [{"duration": 40}, {}])
def test_a_gif_is_read_exactly(tmp_path, options):
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 2, (5, 8, 10, 3), np.uint8) * 255  # eight colours
    frames = [Image.fromarray(picture) for picture in pictures]
    path = tmp_path / "CLIP.GIF"
    frames[0].save(path, save_all=True, append_images=frames[1:], optimize=False, **options)
    np.testing.assert_array_equal(video_files.read_video(path), pictures)
    assert video_files.is_video(path) and not video_files.is_video(tmp_path / "clip.png")


def test_a_gif_of_which_only_changes_are_kept(tmp_path):
    """Later frames of it are smaller and are laid on those before."""
    video = np.zeros((12, 32, 48, 3), np.uint8)
    for t, frame in enumerate(video):
        frame[8:20, 2 * t:2 * t + 12] = (200, 180, 160)
    frames = [Image.fromarray(frame) for frame in video]
    frames[0].save(tmp_path / "clip.gif", save_all=True, append_images=frames[1:], loop=0)
    np.testing.assert_array_equal(video_files.read_video(tmp_path / "clip.gif"), video)


def test_the_first_frames_alone(mp4):
    whole = video_files.read_video(mp4)
    np.testing.assert_array_equal(video_files.read_video(mp4, 5), whole[:5])
    assert len(video_files.read_video(mp4, 100)) == 12


def test_frames_one_by_one_and_from_memory(mp4):
    whole = video_files.read_video(mp4)
    frames = list(video_files.iter_frames(mp4))
    np.testing.assert_array_equal(np.stack(frames), whole)
    content = mp4.read_bytes()
    np.testing.assert_array_equal(video_files.read_video("in.zip", content=content), whole)


def test_a_camera_held_sideways(mp4):
    whole = video_files.read_video(mp4)
    content = mp4.read_bytes()
    assert content.count(UPRIGHT) == 2  # of the whole film, then of the track
    head, track = content.rsplit(UPRIGHT, 1)
    turned = video_files.read_video("turned.mp4", content=head + ROTATED + track)
    np.testing.assert_array_equal(turned, np.rot90(whole, -1, (1, 2)))  # clockwise


def test_frames_that_a_file_hides_are_no_loss(tmp_path, mp4):
    """An edit list leaves out the first frames; the file declares and holds all of them."""
    path = tmp_path / "edited.mp4"
    with av.open(str(mp4)) as source, av.open(str(path), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is not None:
                shift = int(4 / 25 / stream.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, copy
                target.mux(packet)
    np.testing.assert_array_equal(video_files.read_video(path), video_files.read_video(mp4)[4:])


@pytest.mark.parametrize("boundary", [True, False])
def test_a_truncated_mp4_is_refused(mp4, boundary):
    """Also where it is cut between two frames, which a decoder takes for the end."""
    cut_file(mp4, end_of_frame(mp4, 5) - (0 if boundary else 3))
    with pytest.raises(ValueError, match=r"clip.mp4 is truncated: it has [\d,]+ bytes, but says"):
        video_files.read_video(mp4)


@pytest.mark.parametrize("lost", [1, 50, 100, 1000])
def test_a_truncated_mp4_with_its_index_at_the_end_is_refused(tmp_path, lost):
    """Also where all its frames could still be decoded."""
    path = tmp_path / "clip.mp4"
    write_mp4(path, make_video())
    cut_file(path, path.stat().st_size - lost)
    with pytest.raises(ValueError, match="clip.mp4 (is truncated|cannot be decoded)"):
        video_files.read_video(path)


def test_zeros_after_the_end_of_an_mp4_are_no_harm(mp4):
    content = mp4.read_bytes()
    assert len(video_files.read_video("clip.mp4", content=content + bytes(100))) == 12


def test_a_damaged_mp4_is_refused(mp4):
    content = bytearray(mp4.read_bytes())
    start = end_of_frame(mp4, 4)
    content[start:start + 40] = bytes(40)
    with pytest.raises(ValueError, match=r"clip.mp4 cannot be decoded past its first \d+ frames"):
        video_files.read_video("clip.mp4", content=bytes(content))


def test_a_truncated_gif_is_refused(tmp_path):
    path = tmp_path / "clip.gif"
    frames = [Image.fromarray(frame) for frame in make_video()]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    content = path.read_bytes()
    path.write_bytes(content + bytes(10))  # Zeros after the end are common.
    assert len(video_files.read_video(path)) == 12
    cut_file(path, len(content) * 2 // 3)
    with pytest.raises(ValueError, match="gif .*clip.gif is truncated"):
        video_files.read_video(path)
    with pytest.raises(ValueError, match="gif clip.gif is truncated or damaged"):
        video_files.read_video("clip.gif", content=content[:len(content) * 2 // 3] + b";")


def write_sound(path):
    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16",
                                           layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))


@pytest.mark.parametrize("write, message", [
    (lambda path: path.write_text("hello"), "clip.mp4 cannot be decoded .* of an unknown kind"),
    (lambda path: path.write_bytes(b""), "clip.mp4 is empty"),
    (write_sound, "clip.mp4 holds no video"),
])
def test_what_is_no_video_is_refused(tmp_path, write, message):
    write(tmp_path / "clip.mp4")
    with pytest.raises(ValueError, match=message):
        video_files.read_video(tmp_path / "clip.mp4")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no video file .*clip.mp4"):
        video_files.read_video(tmp_path / "clip.mp4")


def test_frames_of_different_sizes_are_refused(monkeypatch):
    frames = [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 6, 3), np.uint8)]
    monkeypatch.setattr(video_files, "iter_frames", lambda path, **how: iter(frames))
    with pytest.raises(ValueError, match="same size, but a.mkv has frames of 4x4 and 4x6 pixels"):
        video_files.read_video("a.mkv")


def test_files_are_closed(mp4):
    """Also by a reader that stops in the middle."""
    next(video_files.iter_frames(mp4))
    video_files.read_video(mp4, 2)
    names = [str(link.resolve()) for link in pathlib.Path("/proc/self/fd").iterdir()]
    assert str(mp4) not in names


@pytest.mark.parametrize("name, tolerance", [("out.mp4", 4), ("out.gif", 6)])
def test_what_is_written_is_read(tmp_path, name, tolerance):
    """With an odd size, which H.264 rounds up."""
    video = make_video(5, height=31, width=47)
    with video_files.open_writer(tmp_path / name, 12.5) as append:
        for frame in video:
            append(frame)
            assert not (tmp_path / name).exists()
    written = video_files.read_video(tmp_path / name)
    assert len(written) == 5
    error = np.abs(written[:, :31, :47].astype(int) - video)
    assert error.mean() < tolerance
    assert video_files.frame_rate(tmp_path / name) == 12.5


@pytest.mark.parametrize("name", ["out.mp4", "out.gif"])
def test_a_video_of_which_the_writing_fails_is_not_there(tmp_path, name):
    with pytest.raises(RuntimeError, match="no more"):
        with video_files.open_writer(tmp_path / name, 8.0) as append:
            append(make_video(1)[0])
            raise RuntimeError("no more")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="written as .mp4 or .gif; got '.*out.avi'"):
        with video_files.open_writer(tmp_path / "out.avi", 8.0):
            pass
    with pytest.raises(ValueError, match="must be above 0; got -1"):
        with video_files.open_writer(tmp_path / name, -1):
            pass


def test_the_frame_rate_of_a_gif_that_says_none_is_unknown(tmp_path):
    Image.fromarray(make_video(1)[0]).save(tmp_path / "one.gif")
    assert video_files.frame_rate(tmp_path / "one.gif") is None
    with pytest.raises(FileNotFoundError, match="no video file"):
        video_files.frame_rate(tmp_path / "nothing.gif")
