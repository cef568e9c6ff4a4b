"""Annotations and proposals of CLEVRER that are not as they should be are refused by name."""

import copy
import dataclasses
import json
import re
import zipfile

import pytest

from parts_jax.data.clevrer import conversion, files, masks
from tests.data.clevrer import writer

SCENE = writer.make_scene(1)
SHAPE = (8, writer.HEIGHT, writer.WIDTH)


def read(tmp_path, content, kind="annotation"):
    path = tmp_path / f"{kind}_00001.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    if kind == "annotation":
        return conversion.read_annotation(files.File(str(path)), 8)
    return masks.read_proposals(files.File(str(path)), None, SHAPE)


def put(content, value, *keys):
    """A copy with another value in one place."""
    content = copy.deepcopy(content)
    item = content
    for key in keys[:-1]:
        item = item[key]
    item[keys[-1]] = value
    return content


ITEM = ("motion_trajectory", 3, "objects", 0)


@pytest.mark.parametrize("keys, value, message", [
    (("collision", 0, "object_ids"), [10, 11, 12], "2 object_ids; got [10, 11, 12] in frame 6"),
    (("collision", 0, "object_ids"), "10", "2 object_ids; got '10'"),
    (("collision", 0, "object_ids"), [10, 9], "frame 6 has the object_id 9, but object_property "
                                              "declares 10, 11, 12"),
    (("collision", 0, "frame_id"), 6.5, "the frame_id of a collision must be a whole number"),
    ((*ITEM, "object_id"), 9, "frame 3 has the object_id 9, but object_property declares 10"),
    ((*ITEM, "object_id"), [9], "frame 3 has the object_id [9]"),
    ((*ITEM, "inside_camera_view"), "false", "must be true or false; got 'false' in frame 3"),
    ((*ITEM, "inside_camera_view"), 1, "must be true or false; got 1"),
    ((*ITEM, "location"), [1e300, 0, 0], "3 finite numbers; got [1e+300, 0, 0] in frame 3"),
    ((*ITEM, "location"), ["1", "2", "3"], "3 finite numbers"),
    ((*ITEM, "location"), 2.0, "3 finite numbers; got 2.0"),
    (("motion_trajectory", 3, "frame_id"), "3", "frame_id must be a whole number; got '3'"),
    (("object_property", 0, "object_id"), 11, "an object_id of its own"),
    (("object_property", 0, "color"), None, "must be texts; got [None"),
    (("motion_trajectory",), 5, "'int' object is not iterable"),
])
def test_wrong_annotations(tmp_path, keys, value, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        read(tmp_path, put(writer.annotation(SCENE), value, *keys))
    assert str(error.value).startswith(f"The annotation {tmp_path}/annotation_00001.json ")


def test_collisions_past_the_end_are_left_out_as_frames_are(tmp_path):
    content = put(writer.annotation(SCENE), 10 ** 9, "collision", 0, "frame_id")
    assert read(tmp_path, content).collisions.tolist() == [[2, 1, 3]]


MASK = ("frames", 2, "objects", 0, "mask")


@pytest.mark.parametrize("keys, value, message", [
    ((*MASK, "counts"), "", "frame 2 a mask that cannot be decoded: its runs cover 0 of 6144"),
    ((*MASK, "counts"), [6144], "cannot be decoded: its counts must be a text"),
    ((*MASK, "size"), "big", "mask of bxixg pixels"),
    ((*MASK, "size"), 3, "not as proposals are (TypeError"),
    (("frames", 2, "frame_index"), True, "frame_index must be a whole number; got True"),
    (("frames", 2, "objects", 0, "shape"), {}, "must be texts"),
])
def test_wrong_proposals(tmp_path, keys, value, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        read(tmp_path, put(writer.proposals(SCENE), value, *keys), "proposal")
    assert "proposal_00001.json" in str(error.value)


def test_more_objects_than_ids(tmp_path):
    content = writer.proposals(SCENE)
    thing = content["frames"][0]["objects"][0]
    content["frames"][0]["objects"] = [thing | {"color": str(i)} for i in range(256)]
    with pytest.raises(ValueError, match="more than 255 objects"):
        read(tmp_path, content, "proposal")


@pytest.mark.parametrize("content", ["[" * 100_000, "9" * 5000, "{", "\ud800".encode(
    "utf-8", "surrogatepass")])
def test_what_is_no_json(tmp_path, content):
    path = tmp_path / "annotation_00001.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match="annotation_00001.json is no JSON"):
        conversion.read_annotation(files.File(str(path)), 8)


def test_bad_clips_are_left_out_on_demand(tmp_path):
    writer.write_files(tmp_path, writer.files_of(SCENE))
    (tmp_path / "derender_proposals" / "proposal_00001.json").write_text("[" * 100_000)
    found = files.find(str(tmp_path))
    clip = conversion.Clip(1, found["video"][1], found["annotation"][1], found["proposals"][1])
    settings = conversion.Settings(16, "none", "proposals", 8, 4)
    with pytest.raises(ValueError, match="proposal_00001.json is no JSON: it is nested too deep"):
        conversion.convert(clip, settings)
    left_out = conversion.convert(clip, dataclasses.replace(settings, skip_bad=True))
    assert left_out.number == 1 and left_out.reason == conversion.UNREADABLE
    assert "proposal_00001.json is no JSON" in left_out.detail
    with pytest.raises(ValueError, match="_00001.json declares .* at most 99 are allowed"):
        conversion.convert(clip, dataclasses.replace(settings, max_bytes=99))
    # Neither is part of the name of a chunk, so that what was converted before is found.
    assert repr(settings) == repr(dataclasses.replace(settings, skip_bad=True, max_bytes=99))


def test_files_of_macos_are_left_alone(tmp_path):
    writer.write_zips(tmp_path, writer.files_of(SCENE))
    (tmp_path / "._video_train.zip").write_bytes(b"of a file system")
    (tmp_path / "._video_00001.mp4").write_bytes(b"of a file system")
    assert files.find(str(tmp_path))["video"][1].member.endswith("/video_00001.mp4")


def test_members_of_zips_are_held_against_the_limit(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("annotation_00001.json", bytes(10 ** 6))
    file = files.find(str(tmp_path))["annotation"][1]
    with pytest.raises(ValueError, match=r"annotation_00001.json in .*a.zip declares 1,000,000"):
        file.read(10 ** 5)
    content = (tmp_path / "a.zip").read_bytes()
    for kind, message in ((b"\x63\x00", "NotImplementedError|compression"), (b"\x0c\x00", "")):
        place = content.rindex(b"PK\x01\x02") + 10
        (tmp_path / "b.zip").write_bytes(content[:place] + kind + content[place + 2:])
        with pytest.raises(ValueError, match=rf"json in .*b.zip is damaged.*({message})"):
            files.File(str(tmp_path / "b.zip"), "annotation_00001.json").read()
