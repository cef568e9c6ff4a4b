"""CLEVRER, from files in its true layout: what is read back is what was written."""

import dataclasses
import functools
import http.server
import json
import logging
import os
import pathlib
import re
import subprocess
import threading

import numpy as np
import pycocotools.mask
import pytest

from parts_jax import data
from parts_jax.data import preprocess
from parts_jax.data.clevrer import chunks, conversion, files, masks
from parts_jax.data.formats import frames
from parts_jax.data.sets import clevrer
from tests.data.clevrer import writer

SCENES = {number: writer.make_scene(number, **options) for number, options in {
    0: {}, 1: {"num_objects": 4}, 2: {"num_objects": 6},
    10000: {"outside_until": 2}, 10001: {"num_objects": 6, "outside_until": 1},
    10002: {"outside_until": 7}, 10800: {}, 15000: {}}.items()}
TEXTS = {number: tuple(" ".join(name) for name in scene.names)
         for number, scene in SCENES.items()}


@functools.cache
def all_files():
    content = {}
    for scene in SCENES.values():
        content |= writer.files_of(scene)
    content["annotation_10000-11000/annotation_10800.json"] = b'{"scene_index": 10800, "obj'
    return content


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setattr(clevrer, "NUM_FRAMES", writer.NUM_FRAMES)
    monkeypatch.setattr(clevrer, "SHORTEST_RUN", 4)
    monkeypatch.setattr(files, "PAUSE", 0.0)


@pytest.fixture
def folder(tmp_path):
    writer.write_files(tmp_path / "source", all_files())
    return tmp_path / "source"


def make_builder(tmp_path, folder=None, **settings):
    settings = {"name": "test", "resolution": 16, "num_workers": 1,
                "source_dir": str(folder or "")} | settings
    config = clevrer.ClevrerConfig(description="For tests.", **settings)
    return clevrer.Clevrer(config=config, data_dir=tmp_path / "data", file_format="array_record")


def prepare(*arguments, **settings):
    builder = make_builder(*arguments, **settings)
    builder.download_and_prepare()
    return builder


def ids_of(builder, split):
    return [example["id"].decode() for example in builder.as_data_source(split=split)]


def check_example(example, number, kind="none", frames_=slice(None), resolution=16):
    """Against the scene that was written: masks exactly, colours as far as the codec keeps them."""
    scene = SCENES[number]
    expected = preprocess.resize(preprocess.crop(
        {"video": scene.video()[frames_], "segmentation": scene.segmentation()[frames_]}, kind),
        resolution)
    video = frames.decode(example["video"]).astype(int)
    assert video.shape == expected["video"].shape
    assert np.abs(video - expected["video"]).mean() < 4
    np.testing.assert_array_equal(frames.decode(example["segmentation"]),
                                  expected["segmentation"])
    assert tuple(text.decode() for text in example["objects"]) == TEXTS[number]


@pytest.mark.parametrize("crop", ["none", "center"])
def test_what_is_read_is_what_was_written(tmp_path, folder, crop):
    builder = prepare(tmp_path, folder, crop=crop)
    assert ids_of(builder, "train") == ["video_00000", "video_00001", "video_00002"]
    assert ids_of(builder, "validation") == ["video_10000", "video_10001", "video_10002",
                                             "video_10800"]
    for split, numbers in {"train": (0, 1, 2), "validation": (10000, 10001, 10002)}.items():
        source = builder.as_data_source(split=split)
        for place, number in enumerate(numbers):
            example, scene = source[place], SCENES[number]
            check_example(example, number, crop)
            np.testing.assert_allclose(example["location"][..., :2], scene.centres / 10, atol=1e-5)
            assert example["location"].dtype == np.float32
            np.testing.assert_array_equal(example["inside_camera_view"], ~scene.outside)
            assert example["collisions"].tolist() == [[2, 1, 3], [6, 2, 1]]


def test_without_an_annotation_ids_follow_the_first_appearance(tmp_path, folder):
    """All of test, and clip 10800, whose broken annotation is not even opened."""
    builder = prepare(tmp_path, folder)
    for split, place, number in (("test", 0, 15000), ("validation", 3, 10800)):
        example = builder.as_data_source(split=split)[place]
        names = [text.decode() for text in example["objects"]]
        first = [" ".join(item[key] for key in ("color", "material", "shape"))
                 for item in writer.proposals(SCENES[number])["frames"][0]["objects"]]
        assert names == first and sorted(names) == sorted(TEXTS[number])
        ids = np.array([0, *(names.index(name) + 1 for name in TEXTS[number])], np.uint8)
        expected = preprocess.resize({"video": SCENES[number].video(),
                                      "segmentation": ids[SCENES[number].segmentation()]}, 16)
        np.testing.assert_array_equal(frames.decode(example["segmentation"]),
                                      expected["segmentation"])
        assert example["location"].shape == (8, 0, 3)
        assert example["inside_camera_view"].shape == (8, 0)
        assert example["collisions"].shape == (0, 3)


def test_test_sets_of_the_2d_lstm_paper(tmp_path, folder):
    """By number of objects; from the first frame in which all are in view, for long enough."""
    builder = prepare(tmp_path, folder)
    assert ids_of(builder, "validation_3_5") == ["video_10000"]
    assert ids_of(builder, "validation_6") == ["video_10001"]
    for split, number, start in (("validation_3_5", 10000, 2), ("validation_6", 10001, 1)):
        example = builder.as_data_source(split=split)[0]
        check_example(example, number, frames_=slice(start, None))
        assert example["inside_camera_view"].all() and len(example["location"]) == 8 - start
        assert example["collisions"].tolist() == [[2 - start, 1, 3], [6 - start, 2, 1]]


def test_the_first_run_is_long_enough():
    inside = np.ones((12, 2), bool)
    inside[[0, 4, 10], [0, 1, 0]] = False
    assert conversion.first_run(inside, 3) == (1, 4)
    assert conversion.first_run(inside, 4) == (5, 10)
    assert conversion.first_run(inside, 6) is None
    assert conversion.first_run(np.ones((12, 2), bool), 12) == (0, 12)
    assert conversion.first_run(np.ones((12, 0), bool), 3) is None


def test_mask_videos(tmp_path, folder):
    writer.write_mask_video(folder, SCENES[10000], 2, 8)
    writer.write_mask_video(folder, SCENES[10001], 1, 8)
    builder = prepare(tmp_path, folder, masks="mask_videos", resolution=32)
    assert set(builder.info.splits) == {"validation_3_5", "validation_6"}
    for split, number, start in (("validation_3_5", 10000, 2), ("validation_6", 10001, 1)):
        example = builder.as_data_source(split=split)[0]
        scene = SCENES[number].segmentation()[start:]
        values, first = np.unique(scene, return_index=True)
        order = [value for _, value in sorted(zip(first, values, strict=True)) if value]
        renumbered = np.zeros(len(order) + 1, np.uint8)
        renumbered[order] = np.arange(1, len(order) + 1)
        expected = preprocess.resize({"video": SCENES[number].video()[start:],
                                      "segmentation": renumbered[scene]}, 32)
        stored = frames.decode(example["segmentation"])
        assert set(np.unique(stored)) == set(range(len(order) + 1))
        assert (stored != expected["segmentation"]).mean() < 0.02  # edges, which the codec blurs
        assert example["inside_camera_view"].all()


def test_without_masks_nothing_else_is_needed(tmp_path, folder):
    for path in folder.rglob("*.json"):
        path.unlink()
    builder = prepare(tmp_path, folder, masks="none")
    assert ids_of(builder, "train") == ["video_00000", "video_00001", "video_00002"]
    example = builder.as_data_source(split="train")[0]
    assert "segmentation" not in example and len(example["video"]) == 8
    assert builder.info.metadata["train"]["clips without their annotation"] == 3


def test_the_description_says_what_scores_are_against(tmp_path):
    assert "vs Mask R-CNN pseudo-masks" in make_builder(tmp_path).info.description
    configs = {config.name: config for config in clevrer.Clevrer.BUILDER_CONFIGS}
    assert next(iter(configs)) == "64"
    assert {"64", "64_center", "128", "64_no_masks", "64_mask_videos"} <= set(configs)
    assert (configs["64"].resolution, configs["64"].crop, configs["64"].masks) == (
        64, "none", "proposals")


# --- Proposals ---


def proposals_file(tmp_path, content):
    path = tmp_path / "proposal_00000.json"
    path.write_text(json.dumps(content))
    return files.File(str(path))


def read_proposals(tmp_path, content, names=TEXTS[0]):
    return masks.read_proposals(
        proposals_file(tmp_path, content), names, (8, writer.HEIGHT, writer.WIDTH))


def test_of_two_that_overlap_the_smaller_is_on_top(tmp_path):
    scene = dataclasses.replace(SCENES[0], centres=np.full((8, 3, 2), 30.0))
    found = read_proposals(tmp_path, writer.proposals(scene))
    assert set(np.unique(found.segmentation)) == {0, 1, 2, 3}
    np.testing.assert_array_equal(found.segmentation, scene.segmentation())


def test_frames_and_objects_that_proposals_lack_are_background(tmp_path):
    content = writer.proposals(SCENES[0])
    expected = SCENES[0].segmentation()
    content["frames"] = [frame for frame in content["frames"] if frame["frame_index"] not in (3, 7)]
    expected[[3, 7]] = 0
    content["frames"][0]["objects"] = [item for item in content["frames"][0]["objects"]
                                       if item["color"] != "red"]
    expected[0][expected[0] == 1] = 0
    found = read_proposals(tmp_path, content)
    np.testing.assert_array_equal(found.segmentation, expected)
    assert found.notes == {"frames without any entry in the proposals": 2}


def test_proposals_unlike_any_annotated_object_are_left_out(tmp_path):
    content = writer.proposals(SCENES[0])
    for item in content["frames"][5]["objects"]:
        if item["color"] == "green":
            item["material"] = "rubber"  # It is metal.
    expected = SCENES[0].segmentation()
    expected[5][expected[5] == 2] = 0
    found = read_proposals(tmp_path, content)
    np.testing.assert_array_equal(found.segmentation, expected)
    assert found.notes == {"proposals unlike any object of the annotation, left out": 1}
    assert len(read_proposals(tmp_path, content, names=None).names) == 4


def test_older_dumps_have_another_name(tmp_path, folder):
    older = folder / "processed_proposals"
    older.mkdir()
    for path in (folder / "derender_proposals").iterdir():
        path.rename(older / path.name.replace("proposal", "sim"))
    check_example(prepare(tmp_path, folder).as_data_source(split="train")[1], 1)


# --- Zips, and a server ---


class Server(http.server.SimpleHTTPRequestHandler):
    """The site: it serves ranges, and breaks off after `limit` bytes of an answer, `breaks` times.

    `requests` are the paths asked for, with the first byte of each.
    """

    requests: list
    limit = breaks = 0
    serves_ranges = True

    def do_GET(self):
        content = pathlib.Path(self.translate_path(self.path)).read_bytes()
        match = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(match[1]) if match and self.serves_ranges else 0
        type(self).requests.append((os.path.basename(self.path), start))
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        part = content[start:]
        if type(self).breaks:
            type(self).breaks -= 1
            part = part[:self.limit]
        self.wfile.write(part)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    writer.write_zips(tmp_path / "site", all_files())
    handler = type("Handler", (Server,), {"requests": []})
    running = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(handler, directory=tmp_path / "site"))
    threading.Thread(target=running.serve_forever, daemon=True).start()
    monkeypatch.setattr(files, "BASE_URL", f"http://127.0.0.1:{running.server_port}/")
    yield handler
    running.shutdown()
    running.server_close()


def downloads(tmp_path):
    return tmp_path / "data" / "downloads" / "clevrer"


def test_it_is_downloaded_and_prepared_as_by_the_command(tmp_path, server, caplog):
    caplog.set_level(logging.INFO, logger="absl")
    builder = data.prepare("clevrer/64", str(tmp_path / "data"))
    for split, numbers in {"train": (0, 1, 2), "validation": (10000, 10001, 10002)}.items():
        source = builder.as_data_source(split=split)
        for place, number in enumerate(numbers):
            check_example(source[place], number, resolution=64)
    assert sorted(server.requests) == sorted((os.path.basename(name), 0)
                                             for name in files.ZIPS)
    assert re.search(r"CLEVRER is fetched from http.*video_train.zip \(0.00 GB\).* in all",
                     caplog.text)
    assert re.search(r"CLEVRER is converted. train: 3 clips. validation: 4 clips, 1 clips without "
                     r"their annotation. test: 1 clips", caplog.text)
    assert builder.info.metadata["validation"] == {"clips": 4, "clips without their annotation": 1}
    assert sorted(path.name for path in downloads(tmp_path).iterdir()) == sorted(
        os.path.basename(name) for name in files.ZIPS)
    assert os.listdir(tmp_path / "data" / "clevrer" / "64") == ["1.0.0"]


def test_zips_in_a_folder_are_as_good_as_what_they_hold(tmp_path, folder):
    writer.write_zips(tmp_path / "zips", all_files())
    unzipped = prepare(tmp_path / "a", folder)
    zipped = prepare(tmp_path / "b", tmp_path / "zips")
    for split in unzipped.info.splits:
        for one, other in zip(unzipped.as_data_source(split=split),
                              zipped.as_data_source(split=split), strict=True):
            assert list(one["video"]) == list(other["video"])
            assert list(one["segmentation"]) == list(other["segmentation"])


@pytest.mark.parametrize("serves_ranges", [True, False])
def test_a_download_goes_on_where_it_broke_off(tmp_path, server, serves_ranges):
    server.limit, server.breaks, server.serves_ranges = 700, 2, serves_ranges
    files.download(str(downloads(tmp_path)))
    assert server.requests[:3] == [("video_train.zip", 0)] + (
        [("video_train.zip", 700), ("video_train.zip", 1400)] if serves_ranges
        else [("video_train.zip", 0)] * 2)
    for name in files.ZIPS:
        assert (downloads(tmp_path) / os.path.basename(name)).read_bytes() == \
            (tmp_path / "site" / name).read_bytes()
    server.requests.clear()
    files.download(str(downloads(tmp_path)))
    assert server.requests == []


def test_an_interrupted_download_goes_on_the_next_time(tmp_path, server):
    content = (tmp_path / "site" / files.ZIPS[0]).read_bytes()
    downloads(tmp_path).mkdir(parents=True)
    (downloads(tmp_path) / "video_train.zip.part").write_bytes(content[:1000])
    files.download(str(downloads(tmp_path)))
    assert server.requests[0] == ("video_train.zip", 1000)
    assert (downloads(tmp_path) / "video_train.zip").read_bytes() == content


def test_a_server_that_sends_nothing_is_given_up(tmp_path, server):
    server.limit, server.breaks = 0, 100
    with pytest.raises(OSError, match="video_train.zip cannot be fetched .the connection was clos"):
        files.download(str(downloads(tmp_path)))
    assert len(server.requests) == files.ATTEMPTS


# --- What is not there ---


CONFIG = clevrer.ClevrerConfig(name="64")


def data_dir(tmp_path):
    return str(tmp_path / "data" / "clevrer" / "64" / "1.0.0")


def test_without_permission_nothing_is_fetched(tmp_path, server):
    with pytest.raises(ValueError) as error:
        clevrer.check_available(CONFIG, data_dir(tmp_path), download=False)
    for part in ("data.download is False", "no video_train.zip, no video_validation.zip",
                 str(downloads(tmp_path)), "--config.data.download=True", "12.4 GB",
                 "--config.data.source_dir=FOLDER", "http://data.csail.mit.edu/clevrer/",
                 "'sim_clevrer'", "parts_clevrer.py:small", "parts_clevrer.py:demo"):
        assert part in str(error.value)
    assert server.requests == [] and not (tmp_path / "data").exists()


def test_with_all_zips_there_no_permission_is_needed(tmp_path):
    for path in ((tmp_path / "site" / name) for name in files.ZIPS):
        path.parent.mkdir(parents=True, exist_ok=True)
    writer.write_zips(tmp_path / "site", all_files())
    downloads(tmp_path).mkdir(parents=True)
    for name in files.ZIPS:
        (tmp_path / "site" / name).rename(downloads(tmp_path) / os.path.basename(name))
    clevrer.check_available(CONFIG, data_dir(tmp_path), download=False)


def test_without_a_network_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "BASE_URL", "http://127.0.0.1:9/")
    with pytest.raises(OSError) as error:
        clevrer.check_available(CONFIG, data_dir(tmp_path), download=True)
    for part in ("http://127.0.0.1:9/videos/train/video_train.zip cannot be fetched",
                 "Connection refused", "--config.data.source_dir=FOLDER", "'sim_clevrer'"):
        assert part in str(error.value)
    assert not (tmp_path / "data").exists()


def test_a_file_that_the_server_has_not_is_named(tmp_path, server):
    (tmp_path / "site" / "derender_proposals.zip").unlink()
    with pytest.raises(OSError, match="derender_proposals.zip cannot be fetched .*404"):
        clevrer.check_available(CONFIG, data_dir(tmp_path), download=True)


@pytest.mark.parametrize("settings, removed, message", [
    ({}, "*.mp4", "no CLEVRER videos. It needs: .*video_00000-01000/video_00000.mp4.*sim_clevrer"),
    ({}, "proposal*", "no CLEVRER masks .derender_proposals.zip"),
    ({"masks": "mask_videos"}, "nothing", "no CLEVRER mask videos .*sliced_masks_validation_mp4"),
    ({"masks": "mask_videos", "source_dir": ""}, "nothing", "README of the code of PROVIDE"),
])
def test_a_folder_that_lacks_a_kind_of_files(tmp_path, folder, settings, removed, message):
    for path in folder.rglob(removed):
        path.unlink()
    config = dataclasses.replace(CONFIG, **{"source_dir": str(folder)} | settings)
    with pytest.raises(ValueError, match=message):
        clevrer.check_available(config, data_dir(tmp_path), download=True)


def test_a_part_of_the_videos_is_read_with_a_warning(tmp_path, folder, caplog):
    builder = prepare(tmp_path, folder)
    assert "of the 10000 videos of train only 3 are there" in caplog.text
    assert len(builder.as_data_source(split="train")) == 3


# --- What is broken ---


VIDEO = "video_00000-01000/video_00001.mp4"
ANNOTATION = "annotation_00000-01000/annotation_00001.json"
PROPOSALS = "derender_proposals/proposal_00001.json"


@pytest.mark.parametrize("path, content, reason, detail", [
    (VIDEO, lambda whole: whole[:-50], "left out: clips whose video cannot be decoded",
     "video_00001.mp4 is truncated"),
    (VIDEO, lambda whole: writer.mp4(SCENES[1].video()[:6]),
     "left out: clips whose video has not 8 frames", "video_00001.mp4 has 6 frames"),
    (PROPOSALS, None, "left out: clips without proposals", "video_00001.mp4 has no proposals"),
])
def test_clips_known_to_be_broken_are_left_out_and_counted(tmp_path, folder, caplog, path, content,
                                                          reason, detail):
    target = folder / path
    target.unlink() if content is None else target.write_bytes(content(target.read_bytes()))
    builder = prepare(tmp_path, folder)
    assert ids_of(builder, "train") == ["video_00000", "video_00002"]
    assert builder.info.metadata["train"] == {"clips": 2, reason: 1}
    assert re.search(f"clip 1 is left out.*{detail}", caplog.text)


def test_many_broken_clips_are_an_error_and_tried_again(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(chunks, "ALWAYS_SKIPPED", 0)
    whole = (folder / VIDEO).read_bytes()
    (folder / VIDEO).write_bytes(whole[:-50])
    with pytest.raises(ValueError, match="1 of the 3 clips of train cannot be used.*is truncated"):
        prepare(tmp_path, folder)
    (folder / VIDEO).write_bytes(whole)
    assert len(prepare(tmp_path, folder).as_data_source(split="train")) == 3


def without(key, *below):
    def change(content):
        item = content
        for step in below:
            item = item[step]
        del item[key]
    return change


def with_mask_size(content):
    content["frames"][2]["objects"][0]["mask"]["size"] = [32, 48]


def with_broken_counts(content):
    larger = pycocotools.mask.encode(np.ones((640, 960), np.uint8, order="F"))
    content["frames"][2]["objects"][0]["mask"]["counts"] = larger["counts"].decode()


@pytest.mark.parametrize("path, change, message", [
    (ANNOTATION, without("motion_trajectory"), "annotation_00001.json lacks the key 'motion_traj"),
    (ANNOTATION, without("color", "object_property", 1), "annotation_00001.json lacks .* 'color'"),
    (ANNOTATION, without("inside_camera_view", "motion_trajectory", 3, "objects", 0),
     "annotation_00001.json lacks the key 'inside_camera_view'"),
    (PROPOSALS, without("frames"), "proposal_00001.json .*lacks the key 'frames'"),
    (PROPOSALS, without("mask", "frames", 2, "objects", 0), "proposal_00001.*the key 'mask'"),
    (PROPOSALS, with_mask_size,
     "proposal_00001.json has in frame 2 a mask of 32x48 pixels, but the video has 64x96"),
    (PROPOSALS, with_broken_counts, "proposal_00001.json has in frame 2 a mask that cannot be dec"),
])
def test_json_that_is_not_as_documented_is_named(tmp_path, folder, path, change, message):
    content = json.loads((folder / path).read_text())
    change(content)
    (folder / path).write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        prepare(tmp_path, folder)
    assert not (tmp_path / "data" / "clevrer" / "test" / "1.0.0").exists()


def test_what_is_no_json_is_named(tmp_path, folder):
    (folder / PROPOSALS).write_text('{"frames": [')
    with pytest.raises(ValueError, match="proposal_00001.json is no JSON"):
        prepare(tmp_path, folder)


@pytest.mark.parametrize("options, message", [
    ({"height": 48}, "mask video .*video_10000/video.mp4 has 6 frames of 48x96 pixels, but what it "
                     "belongs to has 6 frames of 64x96"),
    ({"stop": 7}, "mask video .* has 5 frames of .* belongs to has 6 frames"),
])
def test_mask_videos_of_another_size_are_refused(tmp_path, folder, options, message):
    writer.write_mask_video(folder, SCENES[10000], **{"start": 2, "stop": 8} | options)
    with pytest.raises(ValueError, match=message):
        prepare(tmp_path, folder, masks="mask_videos")


def test_mask_videos_of_other_clips_are_refused(tmp_path, folder):
    writer.write_mask_video(folder, dataclasses.replace(SCENES[10000], number=10005), 2, 8)
    with pytest.raises(ValueError, match="No mask video in .* belongs to a CLEVRER video"):
        prepare(tmp_path, folder, masks="mask_videos")


def test_a_mask_video_without_areas_is_refused(tmp_path):
    path = tmp_path / "video.mp4"
    noise = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), np.uint8)
    path.write_bytes(writer.mp4(noise, crf=1))
    with pytest.raises(ValueError, match="video.mp4 has no areas of one colour"):
        masks.read_mask_video(files.File(str(path)), 3, (2, 64, 96))


def test_damaged_zips_are_named(tmp_path):
    zips = tmp_path / "zips"
    writer.write_zips(zips, all_files())
    path = zips / "videos" / "train" / "video_train.zip"
    whole = path.read_bytes()
    path.write_bytes(whole[:len(whole) // 2])
    config = dataclasses.replace(CONFIG, source_dir=str(zips))
    with pytest.raises(ValueError, match=r"video_train.zip \([\d,]+ bytes\) is no whole zip"):
        clevrer.check_available(config, data_dir(tmp_path), download=True)
    damaged = bytearray(whole)
    damaged[200:240] = bytes(40)
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match="video_0000.*mp4 in .*video_train.zip is damaged"):
        prepare(tmp_path, zips)


# --- A full disk, interruptions, processes ---


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 64 kB, where one may mount it."""
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", path],
                             capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a tmpfs needs the rights of root")
    yield path
    subprocess.run(["umount", path], check=True)


def test_a_full_disk_is_seen_before_the_download(small_disk, server):
    (small_disk / "other").write_bytes(bytes(60000))
    with pytest.raises(OSError, match="has no room for CLEVRER's zips: they take"):
        files.download(str(small_disk / "downloads"))
    assert server.requests == []


def test_a_disk_that_fills_up_while_clips_are_converted(small_disk, tmp_path, folder):
    (small_disk / "other").write_bytes(bytes(50000))
    config = clevrer.ClevrerConfig(name="test", resolution=64, num_workers=1,
                                   source_dir=str(folder))
    builder = clevrer.Clevrer(config=config, data_dir=small_disk, file_format="array_record")
    with pytest.raises(OSError, match="The disk is full: .* cannot be written. What is converted"):
        builder.download_and_prepare()
    left = [path for path in (small_disk / "clevrer").rglob("*") if path.is_file()]
    assert not any("1.0.0" in path.parts or path.suffix == ".part" for path in left)


def test_a_disk_that_fills_up_during_the_download(tmp_path, server):
    """A partial file on a device that is always full."""
    downloads(tmp_path).mkdir(parents=True)
    (downloads(tmp_path) / "video_train.zip.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="The disk is full: .*video_train.zip has .* Make room"):
        files.download(str(downloads(tmp_path)))


def test_an_interrupted_preparation_goes_on_where_it_was(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(chunks, "CLIPS_PER_CHUNK", 1)
    convert, calls = conversion.convert, []

    def counted(clip, settings):
        if len(calls) == 5:
            raise KeyboardInterrupt
        calls.append(clip.number)
        return convert(clip, settings)

    monkeypatch.setattr(conversion, "convert", counted)
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path / "a", folder)
    assert calls == [0, 1, 2, 10000, 10001]
    assert not (tmp_path / "a" / "data" / "clevrer" / "test" / "1.0.0").exists()
    monkeypatch.setattr(conversion, "convert",
                        lambda clip, settings: calls.append(clip.number) or convert(clip, settings))
    resumed = prepare(tmp_path / "a", folder)
    assert calls == list(SCENES)
    assert os.listdir(tmp_path / "a" / "data" / "clevrer" / "test") == ["1.0.0"]
    whole = prepare(tmp_path / "b", folder)
    for split in whole.info.splits:
        for one, other in zip(whole.as_data_source(split=split),
                              resumed.as_data_source(split=split), strict=True):
            assert list(one["video"]) == list(other["video"])


def test_other_files_are_not_taken_for_those_converted_before(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(chunks, "report", lambda paths: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        prepare(tmp_path, folder)
    monkeypatch.undo()
    monkeypatch.setattr(clevrer, "NUM_FRAMES", writer.NUM_FRAMES)
    other = tmp_path / "other"
    writer.write_files(other, writer.files_of(dataclasses.replace(SCENES[1], number=0)))
    builder = prepare(tmp_path, other)
    assert ids_of(builder, "train") == ["video_00000"]
    assert len(builder.as_data_source(split="train")[0]["objects"]) == 4


def test_two_processes_convert_as_one(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(chunks, "CLIPS_PER_CHUNK", 1)
    clips = clevrer.list_clips(files.find(str(folder)), "proposals")
    settings = conversion.Settings(16, "none", "proposals", 8, 4)
    for workers in (1, 2):
        chunks.convert_clips({"train": clips["train"]}, settings,
                                     str(tmp_path / str(workers)), workers)
    names = sorted(os.listdir(tmp_path / "1"))
    assert len(names) == 3 and names == sorted(os.listdir(tmp_path / "2"))
    for name in names:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()
