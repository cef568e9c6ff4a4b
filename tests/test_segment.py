"""Segmenting a video file through the public command: what is written, and what is refused."""

import pathlib
import re
import subprocess
import sys

import av
import numpy as np
import pytest

import parts_jax
from parts_jax import segment
from parts_jax.api import segmenting
from parts_jax.data.formats import video_files
from parts_jax.pictures import colours, grids

ROOT = pathlib.Path(__file__).parent.parent
S, K, TILE = 16, 3, 32
COLUMNS = 3 + K  # frame, masks, reconstruction, slots


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    return tmp_path_factory.mktemp("segment")


@pytest.fixture(scope="module")
def workdir(folder, save_untrained):
    return save_untrained(folder / "run")


@pytest.fixture(scope="module")
def clip(folder) -> pathlib.Path:
    """20 frames, so more than one part, of 40x64 pixels; a square moves."""
    video = np.full((20, 40, 64, 3), 90, np.uint8)
    for t, frame in enumerate(video):
        frame[10:24, 14 + t:28 + t] = (220, 40, 40)
    with video_files.open_writer(folder / "clip.mp4", 10.0) as append:
        for frame in video:
            append(frame)
    return folder / "clip.mp4"


def tiles(picture: np.ndarray) -> list[np.ndarray]:
    """The tiles of a row under its title, of margins of 2 pixels."""
    return [picture[16:16 + TILE, 2 + c * (TILE + 2):2 + c * (TILE + 2) + TILE]
            for c in range(COLUMNS)]


def call(capsys, *arguments) -> str:
    """Runs the command in this process and returns what it printed."""
    segment.main([str(argument) for argument in arguments])
    return capsys.readouterr().out


def refused(capsys, *arguments) -> str:
    with pytest.raises(SystemExit) as exit:
        segment.main([str(argument) for argument in arguments])
    assert exit.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("Error: ") and message.count("\n") == 1
    return message


def test_the_command_writes_frame_masks_reconstruction_and_slots(folder, workdir, clip):
    out = folder / "out.mp4"
    result = subprocess.run(
        [sys.executable, "-m", "parts_jax.segment", f"--workdir={workdir}", str(clip),
         f"--out={out}", f"--tile={TILE}"], cwd=ROOT, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, f"{out}: 20 frames.\n"), result.stderr
    assert "Error" not in result.stderr and "WARNING" not in result.stderr
    written = video_files.read_video(out)
    width = 2 + COLUMNS * (TILE + 2)
    assert written.shape == (20, 14 + 2 + TILE + 2, width + width % 2, 3)
    assert video_files.frame_rate(out) == 10.0

    model = parts_jax.load(workdir)
    seen = model.segment(model.resize(video_files.read_video(clip)))  # all at once
    for t in (0, 15, 16, 19):
        shown = tiles(written[t])
        slots = colours.masked_slots(seen.slot_pictures[t], seen.masks[t])
        expected = [seen.video[t], colours.colour_masks(seen.masks[t]),
                    colours.to_uint8(seen.recon[t]), *slots]
        for tile, picture in zip(shown, expected, strict=True):
            error = np.abs(tile.astype(int) - grids.enlarge(picture, TILE // S))
            assert error.mean() < 6, t  # H.264 keeps half the colours


def test_parts_are_exact_and_have_one_length(workdir, clip):
    model = parts_jax.load(workdir)
    video = model.resize(video_files.read_video(clip))
    parts = list(segmenting.segment_parts(model, iter(video)))
    assert [count for _, count in parts] == [16, 4]
    assert model._segment._cache_size() == 1
    whole = model.segment(video)
    joined = np.concatenate([result.masks[:count] for result, count in parts])
    np.testing.assert_allclose(joined, whole.masks, atol=1e-5)


def test_a_gif_stride_crop_slots_and_speed(capsys, folder, workdir, clip):
    out = folder / "out.gif"
    text = call(capsys, f"--workdir={workdir}", clip, f"--out={out}", "--stride=8", "--crop=none",
                "--num_slots=2", f"--tile={S}")
    assert text == f"{out}: 3 frames.\n"
    written = video_files.read_video(out)
    assert written.shape == (3, 14 + 2 + S + 2, 2 + 5 * (S + 2), 3)
    assert video_files.frame_rate(out) == 1.25
    model = parts_jax.load(workdir)
    squeezed = model.resize(video_files.read_video(clip)[::8], crop="none")
    error = np.abs(written[:, 16:16 + S, 2:2 + S].astype(int) - squeezed)
    assert error.mean() < 6  # 256 colours


def test_one_frame_and_a_video_of_grey_levels(capsys, folder, workdir):
    """A file's frames are decoded to colours, so grey ones are three equal colours."""
    grey = np.random.default_rng(0).integers(0, 256, (24, 24), np.uint8)
    with av.open(str(folder / "grey.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=8)
        stream.width, stream.height, stream.pix_fmt = 24, 24, "gray"
        frame = av.VideoFrame.from_ndarray(grey, format="gray")
        container.mux([*stream.encode(frame), *stream.encode(None)])
    out = folder / "one.gif"
    text = call(capsys, f"--workdir={workdir}", folder / "grey.mkv", f"--out={out}", f"--tile={S}")
    assert text == f"{out}: 1 frame.\n"
    shown = video_files.read_video(out)[0, 16:16 + S, 2:2 + S].astype(int)
    assert np.ptp(shown, axis=-1).max() < 40 < np.ptp(shown[..., 0])  # a palette of 256 colours


def test_a_model_with_actions_takes_them_from_a_file(capsys, folder, save_untrained, clip):
    workdir = save_untrained(folder / "actions", data__action_size=2)
    arguments = (f"--workdir={workdir}", clip, f"--out={folder / 'acted.gif'}", f"--tile={S}")
    assert "This model needs actions: --actions=FILE.npy of [frames, 2]." in refused(
        capsys, *arguments)
    np.save(folder / "short.npy", np.zeros((18, 2), np.float32))
    assert "There are 18 actions, but 20 frames or more" in refused(
        capsys, *arguments, f"--actions={folder / 'short.npy'}")
    assert not list(folder.glob("*acted*"))  # nothing half-written is left
    np.save(folder / "enough.npy", np.ones((20, 2), np.float32))
    assert "20 frames" in call(capsys, *arguments, f"--actions={folder / 'enough.npy'}")


@pytest.mark.parametrize("changes, message", [
    ({"--workdir": "nowhere"}, "no folder '.*nowhere' to load a model from"),
    ({"--out": "out.avi"}, r"Videos are written as .mp4 or .gif; got 'out.avi'"),
    ({"--out": "nodir/c.mp4"}, r"The folder \S+nodir of --out=nodir/c.mp4 does not exist"),
    ({"--step": "3"}, "no checkpoint of step 3"),
    ({"--stride": "0"}, "--stride is 0, but must be 1 or more"),
    ({"--tile": "0"}, "--tile is 0, but must be 1 or more"),
    ({"--num_slots": "0"}, "num_slots is 0, but must be a whole number, 1 or more"),
    ({"--frames_per_second": "0"}, "frames a second must be above 0; got 0.0"),
    ({"--actions": "nothing.npy"}, "nothing.npy"),
    ({"--actions": f"{ROOT}/setup.py"}, "actions in .*setup.py cannot be read: .* a whole .npy"),
    ({"video": "nothing.mp4"}, "There is no video file nothing.mp4"),
    ({"video": f"{ROOT}/setup.py"}, "cannot be decoded"),
])
def test_a_fault_is_one_sentence_and_leaves_nothing(capsys, folder, workdir, clip, tmp_path,
                                                     monkeypatch, changes, message):
    monkeypatch.chdir(tmp_path)
    values = {"--workdir": workdir, "--out": tmp_path / "out.mp4"} | changes
    video = values.pop("video", clip)
    error = refused(capsys, video, *(f"{name}={value}" for name, value in values.items()))
    assert re.search(message, error), error
    assert list(tmp_path.iterdir()) == []
