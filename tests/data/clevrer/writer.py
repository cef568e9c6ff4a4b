"""Writes a tiny CLEVRER in the true layout: videos, annotations, proposals and mask videos.

Discs of one colour each move over a grey floor; what they are called, where they are and what
covers what is known, so that a test can say what must be read.
"""

import dataclasses
import io
import json
import zipfile

import av
import numpy as np
import pycocotools.mask

COLORS = {"red": (200, 40, 40), "green": (40, 180, 60), "blue": (40, 60, 200),
          "yellow": (210, 200, 40), "cyan": (40, 200, 200), "purple": (160, 40, 180)}
FLOOR = (133, 133, 133)
HEIGHT, WIDTH, NUM_FRAMES = 64, 96, 8
GROUPS = {"train": range(10000), "validation": range(10000, 15000), "test": range(15000, 20000)}


@dataclasses.dataclass(frozen=True)
class Scene:
    """A clip of N discs: centres [T, N, 2] and radii [N] in pixels; `outside` [T, N] are unseen."""

    number: int
    names: tuple[tuple[str, str, str], ...]
    centres: np.ndarray
    radii: np.ndarray
    outside: np.ndarray

    def mask(self, t, i):
        rows, columns = np.mgrid[:HEIGHT, :WIDTH]
        inside = np.hypot(rows - self.centres[t, i, 0], columns - self.centres[t, i, 1])
        return (inside <= self.radii[i]) & ~self.outside[t, i]

    def segmentation(self):
        """The smaller disc lies on top, as the rule for proposals is."""
        ids = np.zeros((len(self.centres), HEIGHT, WIDTH), np.uint8)
        for t, frame in enumerate(ids):
            for i in np.argsort(-self.radii):
                frame[self.mask(t, i)] = i + 1
        return ids

    def video(self):
        palette = np.array([FLOOR, *(COLORS[color] for color, _, _ in self.names)], np.uint8)
        return palette[self.segmentation()]


def make_scene(number, num_objects=3, num_frames=NUM_FRAMES, outside_until=0):
    """Discs that drift to the right; the last of them is outside before frame `outside_until`."""
    rng = np.random.default_rng(number)
    names = tuple((color, ("rubber", "metal")[i % 2], ("sphere", "cube", "cylinder")[i % 3])
                  for i, color in enumerate(list(COLORS)[:num_objects]))
    start = np.stack([rng.permutation(np.linspace(14, HEIGHT - 14, num_objects)),
                      np.linspace(12, WIDTH - 20, num_objects)], -1)
    steps = np.arange(num_frames)[:, None, None] * [0.5, 1.0]
    outside = np.zeros((num_frames, num_objects), bool)
    outside[:outside_until, -1] = True
    return Scene(number, names, start + steps, np.linspace(7, 11, num_objects), outside)


def annotation(scene):
    properties = [{"object_id": 10 + i, "color": color, "material": material, "shape": shape}
                  for i, (color, material, shape) in enumerate(scene.names)]
    trajectory = [{"frame_id": t, "objects": [{
        "object_id": 10 + i, "location": [float(row) / 10, float(column) / 10, 0.2],
        "orientation": [0.0, 0.0, 0.0], "velocity": [0.0, 0.0, 0.0],
        "angular_velocity": [0.0, 0.0, 0.0], "inside_camera_view": not bool(scene.outside[t, i])}
        for i, (row, column) in enumerate(centres)]} for t, centres in enumerate(scene.centres)]
    return {"scene_index": scene.number, "video_filename": f"video_{scene.number:05d}.mp4",
            "object_property": properties, "motion_trajectory": trajectory,
            "collision": [{"frame_id": 6, "object_ids": [11, 10], "location": [0.0, 0.0]},
                          {"frame_id": 2, "object_ids": [10, 12], "location": [0.0, 0.0]}]}


def proposals(scene):
    """In each frame in another order, as detectors list them."""
    rng = np.random.default_rng(scene.number)
    frames = []
    for t in range(len(scene.centres)):
        objects = []
        for i in rng.permutation(len(scene.names)):
            if scene.outside[t, i]:
                continue
            mask = pycocotools.mask.encode(np.asfortranarray(scene.mask(t, i).astype(np.uint8)))
            color, material, shape = scene.names[i]
            objects.append({"color": color, "material": material, "shape": shape, "mask": {
                "size": mask["size"], "counts": mask["counts"].decode()}})
        frames.append({"frame_filename": f"frame_{t:05d}.png", "frame_index": t,
                       "objects": objects})
    return {"video_index": scene.number, "frames": frames}


def mp4(video, crf=8):
    """The bytes of an H.264 video."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": str(crf)})
        stream.height, stream.width = video.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in video:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def files_of(scene):
    """Path below the folder, as in the zips, to the bytes of each file of a clip."""
    thousand = scene.number // 1000 * 1000
    span = f"{thousand:05d}-{thousand + 1000:05d}"
    files = {f"video_{span}/video_{scene.number:05d}.mp4": mp4(scene.video()),
             f"derender_proposals/proposal_{scene.number:05d}.json":
                 json.dumps(proposals(scene)).encode()}
    if scene.number < 15000:
        files[f"annotation_{span}/annotation_{scene.number:05d}.json"] = \
            json.dumps(annotation(scene)).encode()
    return files


def zip_of(path):
    """The official zip that a file belongs to, below the base of the site."""
    if path.startswith("derender"):
        return "derender_proposals.zip"
    kind = path.split("_")[0]
    number = int(path.rsplit("_", 1)[1].split(".")[0])
    split = next(split for split, numbers in GROUPS.items() if number in numbers)
    return f"{kind}s/{split}/{kind}_{split}.zip"


def write_files(folder, files):
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


def write_zips(folder, files):
    """The zips as they lie on the server."""
    for path, content in files.items():
        target = folder / zip_of(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(target, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(path, content)


def write_mask_video(folder, scene, start, stop, height=HEIGHT):
    """Colours of its own for the ids, in the order in which these are in the scene."""
    colours = np.array([(0, 0, 0), (250, 120, 10), (20, 90, 220), (120, 220, 120), (220, 20, 200),
                        (240, 240, 30), (60, 200, 220)], np.uint8)
    video = colours[scene.segmentation()[start:stop, :height]]
    path = folder / "sliced_masks_validation_mp4" / str(len(scene.names)) / \
        f"video_{scene.number:05d}"
    path.mkdir(parents=True)
    (path / "video.mp4").write_bytes(mp4(video, crf=18))
