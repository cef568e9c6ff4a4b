"""`folder`: videos of each kind come back, long ones in clips; wrong files are refused by name."""

import av
import numpy as np
import pytest
from PIL import Image

from parts_jax import data
from parts_jax.data import preprocess
from parts_jax.data.formats import frames
from parts_jax.data.sets import folder

CODECS = {".mp4": "libx264", ".avi": "mpeg4", ".webm": "libvpx-vp9", ".mkv": "libx264"}
MOST_ERROR = 4  # mean over pixels, of 255


def make_video(num_frames=5, size=64, seed=0):
    """A soft ramp whose brightness tells the frame, and a square that moves."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 60, size)[:, None, None] * rng.uniform(0.5, 1, 3)
    video = ramp + 6 * np.arange(num_frames)[:, None, None, None] + np.zeros((1, 1, size, 1))
    for t in range(num_frames):
        video[t, 16:40, 8 + t:32 + t] += 90
    return np.rint(video).clip(0, 255).astype(np.uint8)


def write_video(path, video):
    if path.suffix == ".gif":
        first, *others = [Image.fromarray(frame) for frame in video]
        first.save(path, save_all=True, append_images=others, duration=100)
        return
    with av.open(str(path), "w") as container:
        stream = container.add_stream(CODECS[path.suffix], rate=10)
        stream.height, stream.width = video.shape[1:3]
        stream.pix_fmt, stream.bit_rate = "yuv420p", 4_000_000
        for frame in video:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def write_frames(path, video, name="{:05d}.png"):
    path.mkdir(parents=True)
    for number, frame in enumerate(video):
        Image.fromarray(frame).save(path / name.format(number))


@pytest.fixture
def videos(tmp_path):
    """A folder of three small sequences of frames, `a`, `b` and `c`."""
    for seed, name in enumerate("abc"):
        write_frames(tmp_path / "videos" / name, make_video(seed=seed))
    return tmp_path / "videos"


def prepare(tmp_path, name="folder/64"):
    return data.prepare(name, str(tmp_path / "data"), str(tmp_path / "videos"))


def assert_refused(tmp_path, message):
    with pytest.raises(ValueError, match=message):
        prepare(tmp_path)
    assert not list((tmp_path / "data").rglob("*1.0.0*")), "something half-written was left"


def ids_of(builder, split):
    return [example["id"].decode() for example in builder.as_data_source(split=split)]


def only_video(builder, split="train"):
    source = builder.as_data_source(split=split)
    assert len(source) == 1 and set(source[0]) == {"video", "id"}
    return frames.decode(source[0]["video"])


@pytest.mark.parametrize("suffix", [*CODECS, ".gif"])
def test_video_files_come_back(tmp_path, suffix):
    (tmp_path / "videos" / "train").mkdir(parents=True)
    video = make_video(12)
    write_video(tmp_path / "videos" / "train" / f"walk{suffix}", video)
    builder = prepare(tmp_path)
    read = only_video(builder)
    assert read.shape == video.shape and read.dtype == np.uint8
    assert np.abs(read.astype(int) - video).mean() < MOST_ERROR
    # Every frame is nearest to itself, not to one beside it.
    nearest = [np.abs(video.astype(int) - frame).mean((1, 2, 3)).argmin() for frame in read]
    assert nearest == list(range(12))
    assert ids_of(builder, "train") == [f"train/walk{suffix}:0"]


@pytest.mark.parametrize("name", ["{:05d}.png", "frame_{}.png", "run2-{}.PNG"])
def test_numbered_png_come_back_exactly_and_in_order(tmp_path, name):
    video = make_video(12)
    write_frames(tmp_path / "videos" / "train" / "walk", video, name)
    np.testing.assert_array_equal(only_video(prepare(tmp_path)), video)


def test_jpg_come_back(tmp_path):
    video = make_video()
    write_frames(tmp_path / "videos" / "train" / "walk", video, "{}.jpg")
    assert np.abs(only_video(prepare(tmp_path)).astype(int) - video).mean() < 5


def test_grey_palette_and_transparent_png_become_colour(tmp_path):
    grey = make_video()[..., 0]
    for name, mode in (("a", "L"), ("b", "P"), ("c", "RGBA")):
        (tmp_path / "videos" / name).mkdir(parents=True)
        for number, frame in enumerate(grey):
            Image.fromarray(frame).convert(mode).save(
                tmp_path / "videos" / name / f"{number}.png")
    builder = prepare(tmp_path)
    for split in ("train", "validation", "test"):
        np.testing.assert_array_equal(only_video(builder, split),
                                      np.repeat(grey[..., None], 3, -1))


def test_files_and_folders_at_any_depth_are_split_by_path(tmp_path, videos):
    write_frames(videos / "deep" / "er", make_video(7))
    write_video(videos / "deep" / "x.mp4", make_video(4))
    write_video(videos / ".hidden.mp4", make_video(4))
    (videos / "notes.txt").write_text("not a video")
    builder = prepare(tmp_path)
    assert ids_of(builder, "train") == ["a:0", "b:0", "c:0"]
    assert ids_of(builder, "validation") == ["deep/er:0"]
    assert ids_of(builder, "test") == ["deep/x.mp4:0"]
    lengths = [len(builder.as_data_source(split=split)[0]["video"])
               for split in ("train", "validation", "test")]
    assert lengths == [5, 7, 4]


def test_folders_of_splits_are_kept(tmp_path):
    for split in ("train", "validation"):
        write_frames(tmp_path / "videos" / split / "a", make_video())
    builder = prepare(tmp_path)
    assert set(builder.info.splits) == {"train", "validation"}
    assert ids_of(builder, "validation") == ["validation/a:0"]


@pytest.mark.parametrize("name, crop", [("folder/64", "none"), ("folder/64_center", "center"),
                                        ("folder/128_center", "center")])
def test_frames_are_cropped_and_resized(tmp_path, name, crop):
    video = make_video(2, size=160)[:, :130]
    write_frames(tmp_path / "videos" / "train" / "a", video)
    resolution = 128 if "128" in name else 64
    expected = preprocess.resize(preprocess.crop({"video": video}, crop), resolution)["video"]
    np.testing.assert_array_equal(only_video(prepare(tmp_path, name)), expected)


@pytest.mark.parametrize("length, expected", [
    (0, []), (1, [1]), (10, [10]), (11, [6, 5]), (19, [10, 9]), (20, [10, 10]), (21, [10, 6, 5]),
    (40, [10, 10, 10, 10]), (39, [10, 10, 10, 9])])
def test_long_videos_are_cut_without_loss(length, expected):
    video = np.arange(length, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    clips = list(folder.cut(iter(video), 10))
    assert [len(clip) for clip in clips] == expected
    if clips:
        np.testing.assert_array_equal(np.concatenate(clips), video)


def test_few_frames_of_a_film_are_held_at_any_time():
    taken = []
    clips = folder.cut((taken.append(t) or np.zeros((1, 1, 3), np.uint8) for t in range(1000)), 10)
    next(clips)
    assert len(taken) == 20


def test_a_long_video_becomes_clips_of_at_most_128_frames(tmp_path):
    video = make_video(300, size=16)
    video[..., 0] = (np.arange(300) % 256)[:, None, None]
    write_frames(tmp_path / "videos" / "train" / "film", video)
    builder = prepare(tmp_path)
    assert ids_of(builder, "train") == [f"train/film:{first}" for first in (0, 128, 214)]
    read = np.concatenate([frames.decode(example["video"])
                           for example in builder.as_data_source(split="train")])
    np.testing.assert_array_equal(read[:, 0, 0, 0], video[:, 0, 0, 0])


def test_the_same_files_give_the_same_bytes(tmp_path):
    (tmp_path / "videos" / "train").mkdir(parents=True)
    write_video(tmp_path / "videos" / "train" / "a.mp4", make_video(9))
    one, two = (data.prepare("folder/64", str(tmp_path / name), str(tmp_path / "videos"))
                .as_data_source(split="train")[0] for name in ("one", "two"))
    assert list(one["video"]) == list(two["video"])


@pytest.mark.parametrize("kept", [0.3, 0.9])
@pytest.mark.parametrize("suffix", [*CODECS, ".gif"])
def test_truncated_videos_are_refused(tmp_path, videos, suffix, kept):
    path = videos / f"b{suffix}"
    write_video(path, make_video(12))
    content = path.read_bytes()
    path.write_bytes(content[:int(kept * len(content))])
    assert_refused(tmp_path, rf"videos/b{suffix} .*truncated")


def test_videos_whose_length_is_not_declared_are_read(tmp_path, videos):
    """As programs write them that record a stream."""
    with av.open(str(videos / "live.webm"), "w", options={"live": "1"}) as container:
        stream = container.add_stream("libvpx-vp9", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for frame in make_video(6):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    assert len(only_video(prepare(tmp_path), "test")) == 6


@pytest.mark.parametrize("kept", [0, 0.5, 0.9])
@pytest.mark.parametrize("name", ["{:05d}.png", "{:05d}.jpg"])
def test_truncated_frames_are_refused(tmp_path, name, kept):
    write_frames(tmp_path / "videos" / "train" / "a", make_video(), name)
    path = tmp_path / "videos" / "train" / "a" / name.format(3)
    content = path.read_bytes()
    path.write_bytes(content[:int(kept * len(content))])
    assert_refused(tmp_path, f"a/{name.format(3)} cannot be read: it is truncated, damaged")


def test_something_else_by_the_name_of_a_frame_is_refused(tmp_path, videos):
    Image.fromarray(make_video()[0]).save(videos / "b" / "00002.png", format="BMP")
    assert_refused(tmp_path, "b/00002.png cannot be read.*no PNG or JPEG")


def test_frames_of_more_than_8_bits_are_refused(tmp_path, videos):
    Image.fromarray(np.zeros((64, 64), np.uint16)).save(videos / "b" / "00002.png")
    assert_refused(tmp_path, "b/00002.png must have 8 bits a channel; its mode is I")


def test_frames_of_another_size_are_refused(tmp_path, videos):
    Image.fromarray(np.zeros((64, 32, 3), np.uint8)).save(videos / "b" / "00002.png")
    assert_refused(tmp_path, "videos/b has 64x64 pixels in its first frame and 64x32 in frame 2")


def test_missing_frames_are_noticed(tmp_path, videos):
    (videos / "b" / "00002.png").unlink()
    assert_refused(tmp_path, "missing in .*videos/b: after 00001.png comes 00003.png.*are 1 apart")


def test_frames_that_are_evenly_apart_are_taken(tmp_path, videos):
    (videos / "a" / "00001.png").unlink()
    (videos / "a" / "00003.png").unlink()
    assert len(only_video(prepare(tmp_path))) == 3


@pytest.mark.parametrize("name, message", [
    ("cover.png", "videos/b/cover.png must have its number in its name"),
    ("2.png", r"videos/b/00002.png and .*videos/b/2.png have the same number 2"),
])
def test_frames_without_a_clear_order_are_refused(tmp_path, videos, name, message):
    Image.fromarray(make_video()[0]).save(videos / "b" / name)
    assert_refused(tmp_path, message)


def test_a_single_picture_is_no_video(tmp_path, videos):
    write_frames(videos / "d", make_video(1))
    assert_refused(tmp_path, "The video .*videos/d has 1 frame, but must have at least 2")


def test_a_folder_without_videos_is_refused(tmp_path):
    (tmp_path / "videos" / "empty").mkdir(parents=True)
    (tmp_path / "videos" / "notes.txt").write_text("no video")
    assert_refused(tmp_path, r"no videos \(.mp4,.*\) in the folder .*/videos\.")


def test_loose_frames_are_told_to_have_a_folder_of_their_own(tmp_path):
    write_frames(tmp_path / "videos", make_video())
    assert_refused(tmp_path, r"no videos \(.* or a folder of its own for the numbered frames")


def test_too_few_videos_to_split_are_refused(tmp_path):
    write_frames(tmp_path / "videos" / "a", make_video())
    assert_refused(tmp_path, "has 1 of the videos .*at least 3 are needed.*--config.eval.split=tra")
