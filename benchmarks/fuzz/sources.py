"""Healthy sources of every reader, small and always the same, written into a folder.

TFRecord files and CLEVRER's are written as the tests of their readers do.
"""

import bz2
import gzip
import io
import json
import pathlib
import tarfile
import zipfile

import av
import h5py
import ml_collections
import numpy as np
from PIL import Image

from benchmarks.fuzz import hdf5
from configs import parts_clevrer
from parts_jax.runs import checkpoint_record, configuration
from tests.data.clevrer import writer as clevrer_writer
from tests.data.formats import tfrecord_writer

SIZE, LENGTH = 16, 4
CODECS = {"mp4": "libx264", "mov": "mpeg4", "mkv": "libx264", "webm": "libvpx", "avi": "mpeg4"}
MASKED_CLIP = 10000  # number of a clip of CLEVRER's that has an annotation and may have masks
PLACE = {"next_index": 8}  # in the data, of a checkpoint


def frames(size: int = SIZE, length: int = LENGTH, width: int = SIZE) -> np.ndarray:
    """A square that moves over a slope: uint8 [T, H, W, 3]."""
    video = np.zeros((length, size, width, 3), np.uint8)
    video[..., 1] = np.linspace(40, 160, size)[:, None]
    video[..., 2] = np.linspace(20, 120, width)
    for t, frame in enumerate(video):
        frame[size // 4:size // 2, t:t + size // 3] = (200, 180, 160)
    return video


def ids(length: int = LENGTH) -> np.ndarray:
    """uint8 [T, H, W] of 0, 1 and 2."""
    return np.stack([np.add.outer(np.arange(SIZE), np.arange(SIZE) + t) // 11 for t in range(
        length)]).astype(np.uint8)


def actions(size: int = 7, length: int = LENGTH) -> np.ndarray:
    """float32 [T, A]."""
    return np.linspace(-1, 1, length * size, dtype=np.float32).reshape(length, size)


def video(folder: pathlib.Path, suffix: str) -> pathlib.Path:
    path = folder / f"clip.{suffix}"
    if suffix == "gif":
        images = [Image.fromarray(frame) for frame in frames(32, 8, 48)]
        images[0].save(path, save_all=True, append_images=images[1:], duration=40, loop=0)
        return path
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream(CODECS[suffix], rate=25)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        stream.codec_context.thread_count = 1
        for frame in frames(32, 8, 48):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def pictures(folder: pathlib.Path, suffix: str) -> pathlib.Path:
    place = folder / "source" / "train" / "walk"
    place.mkdir(parents=True)
    for t, frame in enumerate(frames()):
        Image.fromarray(frame).save(place / f"{t}.{suffix}")
    return place / f"1.{suffix}"


def local_set(folder: pathlib.Path, name: str, features: dict) -> pathlib.Path:
    """A TFDS copy of one example a split; the file of training."""
    record = tfrecord_writer.example(features)
    place = tfrecord_writer.write_tfds(folder / "source", name, {
        split: [[record]] for split in ("train", "validation", "test")})
    return place / f"{name}-train.tfrecord-00000-of-00001"


def rlds(folder: pathlib.Path) -> pathlib.Path:
    return local_set(folder, "utokyo_xarm_pick_and_place_converted_externally_to_rlds", {
        "steps/observation/image": [tfrecord_writer.picture(frame, kind) for frame, kind in zip(
            frames(), ("PNG", "JPEG") * 2, strict=True)], "steps/action": actions()})


def rlds_info(folder: pathlib.Path) -> pathlib.Path:
    return rlds(folder).parent / "dataset_info.json"


def movi(folder: pathlib.Path) -> pathlib.Path:
    return local_set(folder, "movi_a", {
        "video": [tfrecord_writer.picture(frame) for frame in frames()],
        "segmentations": [tfrecord_writer.picture(mask) for mask in ids()],
        "metadata/video_name": b"0001"})


def multi_object(folder: pathlib.Path, packed: bool) -> pathlib.Path:
    """Two scenes of tetrominoes."""
    scenes = []
    for seed in range(2):
        labels = np.random.default_rng(seed).integers(0, 4, (35, 35))
        masks = np.where(labels == np.arange(4)[:, None, None], 255, 0).astype(np.uint8)
        scenes.append(tfrecord_writer.example({
            "image": tfrecord_writer.byte_strings(frames(35, 1, 35)),
            "mask": tfrecord_writer.byte_strings(masks), "visibility": np.ones(4, np.float32)}))
    path = tfrecord_writer.write(folder / "source" / "tetrominoes_train.tfrecords", scenes)
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes(), 1, mtime=0))
    return path


def robotics_arm(folder: pathlib.Path, archived: bool) -> pathlib.Path:
    steps = [tfrecord_writer.example({
        "actions": action, "pixels/basket_front_left": [tfrecord_writer.picture(frame, "JPEG")]})
        for frame, action in zip(frames(), actions(), strict=True)]
    name = "10000_b615a417-ce34-41a8-8411-2a1ce3f3bd07"
    path = tfrecord_writer.write(folder / "source" / name, steps)
    if not archived:
        return path
    content, buffer = path.read_bytes(), io.BytesIO()
    path.unlink()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        member = tarfile.TarInfo(f"sketchy/{name}")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    path = path.with_name("lift.tar.bz2")
    path.write_bytes(bz2.compress(buffer.getvalue(), 1))
    return path


def playroom(folder: pathlib.Path, suffix: str) -> pathlib.Path:
    """An episode, and files beside it that no episode may show."""
    place = folder / "source" / "train"
    place.mkdir(parents=True)
    (place.parent / "source.json").write_text(json.dumps(
        {"source": "fuzz", "mirrored_actions": [0, 2]}))
    episode = {"video": frames(), "actions": actions(3), "segmentations": ids()}
    path = place / f"a.{suffix}"
    for name in (path, place / hdf5.OTHER_EPISODE):
        with h5py.File(name, "w") as file:
            for key, value in episode.items():
                file.create_dataset(key, data=value, compression="gzip", fletcher32=True)
    if suffix == "npz":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for key, value in episode.items():
                buffer = io.BytesIO()
                np.lib.format.write_array(buffer, value)
                archive.writestr(zipfile.ZipInfo(f"{key}.npy"), buffer.getvalue(),
                                 zipfile.ZIP_DEFLATED, 1)
    (place / hdf5.OTHER).write_bytes(bytes(range(256)) * 100)
    return path


def balls(folder: pathlib.Path) -> pathlib.Path:
    """A clip a split."""
    path = folder / "source" / "balls4mass64.h5"
    path.parent.mkdir()
    for name in (path, path.with_name(hdf5.OTHER_EPISODE)):
        with h5py.File(name, "w") as file:
            for split in ("training", "validation", "test"):
                groups = ids()[:, None, ..., None].astype(np.float32)
                for key, value in (("features", groups > 0), ("groups", groups)):
                    file.create_dataset(f"{split}/{key}", data=value.astype(np.float32),
                                        compression="gzip", fletcher32=True)
    path.with_name(hdf5.OTHER).write_bytes(bytes(100_000))
    return path


def masks(folder: pathlib.Path) -> pathlib.Path:
    """A mask of a video, as DAVIS has them."""
    place = folder / "source" / "train"
    for name, pictures_, ending in (("JPEGImages", frames(), "jpg"), ("Annotations", ids(), "png")):
        (place / name / "walk").mkdir(parents=True)
        for t, picture in enumerate(pictures_):
            Image.fromarray(picture).save(place / name / "walk" / f"{t}.{ending}")
    return place / "Annotations" / "walk" / "1.png"


def note(folder: pathlib.Path) -> pathlib.Path:
    return playroom(folder, "npz").parents[1] / "source.json"


def clevrer(folder: pathlib.Path, kind: str) -> pathlib.Path:
    """One clip; the file of that kind, or the one zip that holds all."""
    scene = clevrer_writer.make_scene(MASKED_CLIP)
    contents = clevrer_writer.files_of(scene)
    if kind != "zip":
        clevrer_writer.write_files(folder / "source", contents)
        return folder / "source" / next(name for name in contents if kind in name)
    path = folder / "source" / "all.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED, 1)
    return path


def mask_video(folder: pathlib.Path) -> pathlib.Path:
    scene = clevrer_writer.make_scene(MASKED_CLIP)
    clevrer_writer.write_files(folder / "source", clevrer_writer.files_of(scene))
    clevrer_writer.write_mask_video(folder / "source", scene, 0, clevrer_writer.NUM_FRAMES)
    return next((folder / "source").rglob("video.mp4"))


def config() -> ml_collections.ConfigDict:
    return parts_clevrer.get_config("demo")


def config_file(folder: pathlib.Path) -> pathlib.Path:
    path = folder / configuration.FILE_NAME
    path.write_text(configuration.to_json(config()))
    return path


def metrics(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "metrics.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for step in range(1, 7) for line in (
        {"step": step, "train/loss": 1 / step, "train/kl": None},
        {"step": step, "eval/ari_last": step / 9})))
    return path


def best(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "best.json"
    path.write_text('{"step": 8, "stage": 1, "metric": "ari_last", "value": 0.25}\n')
    return path


def evaluation(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "evaluation" / "a_b-test-8.json"
    path.parent.mkdir()
    names = ("ari_last", "mse", "ari_last_refined")
    path.write_text(json.dumps({
        "step": 8, "stages": ["predicted", "refined"], **dict.fromkeys(names, 0.5),
        "median": dict.fromkeys(names, 0.4), "interval": dict.fromkeys(names, [0.3, 0.6])}))
    return path


def arrays() -> dict:
    """The parameters of a very small checkpoint."""
    return {"params": {"w": np.arange(3, dtype=np.float32), "b": np.zeros(2, np.float32)}}


def record(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "8" / "record" / "metadata"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(checkpoint_record.make(8, arrays(), PLACE, config().to_dict())))
    return path


def actions_file(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "actions.npy"
    np.save(path, actions())
    return path
