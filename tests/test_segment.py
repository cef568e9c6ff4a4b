"""Segmenting a video file through the public command: what is written, and what is refused."""

import io
import pathlib
import re
import shutil
import subprocess
import sys
import types

import av
import jax
import numpy as np
import pytest
from PIL import Image

import parts_jax
from parts_jax import segment
from parts_jax.api import action_files, places, segmenting
from parts_jax.api.clips import Clip
from parts_jax.data import pipeline
from parts_jax.data.formats import video_files
from parts_jax.pictures import colours, grids, overlay
from parts_jax.runs import configuration

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
    out, kept = folder / "out.gif", folder / "decoder.npz"
    text = call(capsys, f"--workdir={workdir}", clip, f"--out={out}", "--stride=8", "--crop=none",
                "--num_slots=2", f"--tile={S}", f"--save={kept}", "--masks=decoder")
    assert text == f"{out}: 3 frames.\n{kept}: 3 frames.\n"
    written = video_files.read_video(out)
    assert written.shape == (3, 14 + 2 + S + 2, 2 + 5 * (S + 2), 3)
    assert video_files.frame_rate(out) == 1.25
    model = parts_jax.load(workdir)
    squeezed = model.resize(video_files.read_video(clip)[::8], crop="none")
    error = np.abs(written[:, 16:16 + S, 2:2 + S].astype(int) - squeezed)
    assert error.mean() < 6  # 256 colours
    for masks, least, most in (("decoder", 0, 2e-3), ("assigned", 0.01, 1)):
        seen = model.segment(squeezed, num_slots=2, masks=masks).masks
        place = places.find(40, 64, "none")
        saved = np.load(kept)["masks"] - [places.back(frame, place) for frame in seen]
        assert least <= np.abs(saved).max() < most


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
    ({"--frames_per_second": "inf"}, "above 0; got inf. --frames_per_second takes numbers from"),
    ({"--frames_per_second": "nan"}, "above 0; got nan"),
    ({"--frames_per_second": "1e-300"}, "above 0; got 1e-300"),
    ({"--frames_per_second": "1e300"}, "above 0; got 1e"),
    ({"--stride": f"{10**30}"}, "--stride is 10{30}, but must be 1000000 or less"),
    ({"--stride": "5000"}, "above 0; got 0.002 from .*clip.mp4 and --stride=5000"),
    ({"--tile": "100000"}, "--tile is 100000, but must be 4096 or less"),
    ({"--num_slots": "100000"}, "num_slots is 100000, but must be .* at most 65535"),
    ({"--seed": "2147483648"}, "--seed is 2147483648, but must be 2147483647 or less"),
    ({"--step": "-3"}, "--step is -3, but must be -2 or more"),
    ({"--step": f"{10**30}"}, "--step is 1000"),
    ({"--out": ""}, "Nothing is asked for: give --out, --save, --overlay or --slots"),
    ({"--out": "", "--save": "masks", "--num_slots": "300"}, "at most 255 slots apart; got 300"),
    ({"--overlay": "nodir/o.mp4"}, "The folder .*nodir of --overlay=nodir/o.mp4 does not exist"),
    ({"--save": "nodir/m/"}, "The folder .*nodir of --save=nodir/m/ does not exist"),
    ({"--slots": "nodir/s.npz"}, "The folder .*nodir of --slots=nodir/s.npz does not exist"),
    ({"--slots": "slots.txt"}, "Slots are saved as a .npz file; got 'slots.txt'"),
    ({"--overlay": "out.avi"}, r"Videos are written as .mp4 or .gif; got 'out.avi'"),
    ({"--overlay": "out.mp4"}, "--overlay=.*out.mp4 and --out=.*out.mp4 would replace each other"),
    ({"--save": "gs://bucket/masks"}, "--save is 'gs://bucket/masks', an address, but must be"),
    ({"--masks": "soft"}, "masks is 'soft', but must be 'assigned' or 'decoder'; or None, which"),
    ({"--split": "test"}, "--split is of the set that the model was trained on, and goes with"),
    ({"--workdir": "~/nowhere"}, "no folder '/[^~]*/nowhere' to load a model from"),
    ({"--out": "~/nodir/c.mp4"}, "The folder /[^~]*/nodir of --out=/[^~]* does not exist"),
    ({"video": "~/nothing.mp4"}, "There is no video file /[^~]*/nothing.mp4"),
    ({"video": f"{ROOT}/parts_jax/api"}, "There is no clip in .*parts_jax/api. Give a video"),
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


def test_the_users_video_is_not_replaced(capsys, workdir, clip, tmp_path):
    """Under any name: the rest of the kind is in tests/api/test_outputs.py."""
    mine = tmp_path / "a.mp4"
    mine.write_bytes(clip.read_bytes())
    (tmp_path / "link.mp4").symlink_to(mine)
    for flag in (f"--out={mine}", f"--overlay={tmp_path}/link.mp4", f"--out={tmp_path}/A.mp4"):
        assert "a.mp4, which is read" in refused(capsys, f"--workdir={workdir}", mine, flag)
    assert mine.read_bytes() == clip.read_bytes() and len(list(tmp_path.iterdir())) == 2


def test_clips_of_all_kinds_give_files_of_the_frames_own_size(capsys, workdir, clip, tmp_path):
    """A file of two parts and a folder of frames: videos, overlays, masks and slots of both."""
    video = video_files.read_video(clip)
    clip = pathlib.Path(shutil.copy(clip, tmp_path / "clip.v2.mp4"))
    (tmp_path / "frames").mkdir()
    for t, frame in enumerate(video[:3]):
        grids.save_png(str(tmp_path / "frames" / f"f{t}.png"), frame)
    text = call(capsys, f"--workdir={workdir}", clip, tmp_path / "frames", f"--tile={S}",
                *(f"--{name}={tmp_path}/{name}" for name in ("out", "overlay", "save")),
                f"--slots={tmp_path}/slots.npz", "--crop=pad")
    assert text.splitlines() == [
        f"{tmp_path}/{path}: {count} frames." for path, count in (
            ("out/clip.v2.mp4", 20), ("overlay/clip.v2.mp4", 20), ("save/clip.v2/", 20),
            ("out/frames.mp4", 3), ("overlay/frames.mp4", 3), ("save/frames/", 3))
    ] + [f"{tmp_path}/slots.npz: slots of 2 clips."]
    model = parts_jax.load(workdir)
    for name, count in (("clip.v2", 20), ("frames", 3)):
        assert len(video_files.read_video(tmp_path / "out" / f"{name}.mp4")) == count
        seen = model.segment(model.resize(video[:count], crop="pad"))
        shown = video_files.read_video(tmp_path / "overlay" / f"{name}.mp4")
        kept = np.load(tmp_path / "save" / name / "masks.npz")
        assert kept["masks"].shape == (count, K, 40, 64) and shown.shape == (count, 40, 64, 3)
        np.testing.assert_allclose(kept["slots"], seen.posterior.mean, atol=1e-5)
        for t in range(count):
            place = places.find(40, 64, "pad")
            ids = np.asarray(Image.open(tmp_path / "save" / name / f"{t:05d}.png"))
            wrong = ids != places.ids(places.back(seen.masks[t], place))
            assert wrong.mean() < 0.01, t  # float16 of two programs: where two slots tie
            expected = overlay.overlay(video[t], ids, K).astype(int)
            assert np.abs(expected - shown[t]).mean() < 6
    slots = np.load(tmp_path / "slots.npz")
    assert slots["names"].tolist() == ["clip.v2", "frames"] and slots["slots"].shape == (23, K, 4)
    assert slots["clip"].tolist() == [0] * 20 + [1] * 3
    assert slots["frame"].tolist() == [*range(20), *range(3)]
    np.testing.assert_allclose(slots["slots"][20:], seen.posterior.mean, atol=1e-5)


def test_of_several_clips_outputs_are_folders(capsys, workdir, clip, tmp_path):
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(clip.read_bytes())
    both = (f"--workdir={workdir}", tmp_path / "a.mp4", tmp_path / "b.mp4")
    for flag in ("--out=x.mp4", "--overlay=x.gif", "--save=x.npz", f"--out={clip}"):
        assert f"{flag} must be a folder, as there may be several clips" in refused(
            capsys, *both, flag)
    np.save(tmp_path / "actions.npy", np.zeros((20, 2), np.float32))
    assert "--actions are of one clip, but there are 2" in refused(
        capsys, *both, f"--out={tmp_path}/x", f"--actions={tmp_path}/actions.npy")
    assert not (tmp_path / "x").exists()


@pytest.fixture(scope="module")
def part(workdir, clip):
    """What `segment_parts` yields first."""
    model = parts_jax.load(workdir)
    return next(segmenting.segment_parts(model, model.resize(video_files.read_video(clip))))


@pytest.mark.parametrize("error, code", [(KeyboardInterrupt, 130), (OSError("full"), 2)])
def test_what_breaks_off_leaves_nothing(capsys, workdir, clip, part, tmp_path, monkeypatch, error,
                                        code):
    """In the second part, after frames were written."""
    def breaks_off(model, frames, *_):
        for _ in range(part[1]):
            next(frames)
        yield part
        raise error

    monkeypatch.setattr(segmenting, "segment_parts", breaks_off)
    with pytest.raises(SystemExit) as exit:
        segment.main([f"--workdir={workdir}", str(clip), f"--out={tmp_path}/a.mp4",
                      f"--overlay={tmp_path}/o.gif", f"--save={tmp_path}/masks",
                      f"--slots={tmp_path}/s.npz", f"--tile={S}"])
    printed = capsys.readouterr()
    assert exit.value.code == code and printed.out == "" and printed.err.count("\n") == 1
    assert "Traceback" not in printed.err and not list(tmp_path.iterdir())


def test_the_door_opens_before_what_takes_seconds_to_import():
    """So that Ctrl-C while it is imported ends as any other, and --help is quick."""
    code = ("import sys; from parts_jax import segment; segment.parse(['--workdir=a', 'b.mp4']); "
            "assert not {'jax', 'numpy', 'av'} & set(sys.modules)")
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_ctrl_c_while_libraries_are_imported():
    """numpy stands for all of them: one that sends the signal when it is first imported.

    Shells start what runs in the background with SIGINT ignored, and tests may run there.
    """
    code = ("import os, signal, sys, types\n"
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            "class Finder:\n"
            "    def find_spec(name, *_):\n"
            "        if name == 'numpy': os.kill(os.getpid(), signal.SIGINT)\n"
            "sys.meta_path.insert(0, Finder)\n"
            "from parts_jax import segment\n"
            "segment.main(['--workdir=a', 'b.mp4', '--out=c.mp4'])")
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (130, segment.SAID_THEN + "\n")


@pytest.mark.parametrize("error", [MemoryError("1 TB"), jax.errors.JaxRuntimeError(
    "RESOURCE_EXHAUSTED: Out of memory allocating 1 TB")])
def test_too_little_memory_is_a_sentence(error):
    def fails(*_, **__):
        raise error

    model = types.SimpleNamespace(segment=fails, num_slots=3, takes_images=False)
    with pytest.raises(ValueError, match="too little memory for 16 frames with 9000 slots") as got:
        next(segmenting.segment_parts(model, iter(np.zeros((2, S, S, 3), np.uint8)), None, 9000))
    assert got.value.__cause__ is error


def test_an_overlay_of_frames_of_two_sizes_is_refused(clip):
    job, sizes = segmenting.Job(Clip(clip, "clip"), None, "o.mp4", None), []
    for _ in range(2):
        segmenting._check_size(np.zeros((4, 6, 3)), sizes, job)
    with pytest.raises(ValueError, match="clip.mp4 has 4x6 pixels in its first frame and 6x4"):
        segmenting._check_size(np.zeros((6, 4, 3)), sizes, job)


def test_frames_are_counted_on_a_terminal_only(workdir, clip, tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(segmenting, "segment_parts", lambda model, frames, *_: [
        (None, len(list(frames)))])
    monkeypatch.setattr(segmenting, "_open_writers", lambda *_: lambda *_: None)
    for stream, shown in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        segment.main([f"--workdir={workdir}", str(clip), f"--save={tmp_path}/m"])
        assert ("clip: " in stream.getvalue() and " frames" in stream.getvalue()) == shown


def test_clips_that_are_too_long_are_told_of_once(capsys, workdir, clip, tmp_path, monkeypatch):
    """20 frames, by a model that was trained on 4."""
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(clip, tmp_path / name)
    monkeypatch.setattr(segmenting, "segment_clip", lambda *_: 20)
    for arguments, told in (((), True), (("--restart_every=5",), True),
                            (("--restart_every=4",), False)):
        segment.main([f"--workdir={workdir}", f"{tmp_path}/a.mp4", f"{tmp_path}/b.mp4",
                      f"--out={tmp_path}/out", *arguments])
        error = capsys.readouterr().err
        assert error.startswith("Warning: The video has more than 4 frames") == told
        assert error.count("Warning") == told and error.count("\n") == told
    assert "--restart_every is 0, but must be 1 or more" in refused(
        capsys, f"--workdir={workdir}", clip, f"--out={tmp_path}/c.mp4", "--restart_every=0")
    assert "--overlay, --masks, --resolution or --restart_every" in refused(
        capsys, f"--workdir={workdir}", "--split=test", f"--slots={tmp_path}/s.npz",
        "--restart_every=4")


def test_slots_of_a_split_for_what_is_learned_from_them(capsys, folder, save_untrained):
    workdir = save_untrained(folder / "split_run", data__data_dir=str(folder / "data"))
    out = folder / "split.npz"
    text = call(capsys, f"--workdir={workdir}", "--split=validation", f"--slots={out}")
    config = configuration.load(str(workdir))
    batch = next(iter(pipeline.eval_iterator(config.data, "validation", batch_size=4)))
    kept, model = np.load(out), parts_jax.load(workdir)
    num_clips = len(kept["names"])
    assert text == f"{out}: slots of {num_clips} clips.\n"
    assert kept["slots"].shape == (4 * num_clips, K, 4)
    assert kept["frame"].tolist() == [0, 1, 2, 3] * num_clips
    assert kept["names"].tolist() == [f"validation/{i}" for i in range(num_clips)]
    seen = model.segment(batch["video"][:4])
    np.testing.assert_allclose(kept["slots"][:16].reshape(4, 4, K, 4), seen.posterior.mean,
                               atol=1e-5)
    assert "--overlay, --masks, --resolution or --restart_every" in refused(
        capsys, f"--workdir={workdir}", "--split=test", f"--slots={out}", "--masks=decoder")
    assert "no split" in refused(capsys, f"--workdir={workdir}", "--split=none", f"--slots={out}")


def test_actions_are_held_against_what_they_declare_before_they_are_read(tmp_path):
    with (tmp_path / "actions.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f4", "fortran_order": False, "shape": (10 ** 12, 2)})
    with pytest.raises(ValueError, match="declares 8,000,000,000,128 bytes and has 128"):
        action_files.read(str(tmp_path / "actions.npy"))
