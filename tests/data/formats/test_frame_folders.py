"""Numbered frames: in the natural order of their names; what cannot be read is named."""

import struct
import zlib

import numpy as np
import pytest
from absl import logging
from PIL import Image

from parts_jax.data.formats import frame_folders, frames, source_files


def make_names(folder, names):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / f"{name}.png").touch()
    return [path.stem for path in frame_folders.find_frames(folder)]


@pytest.mark.parametrize("names", [
    ["2.20", "2.80", "3.40", "4.00", "4.60"], ["0.0", "0.25", "0.5", "0.75", "1.0"],
    ["1.5", "2", "2.5", "3"], ["1305031102.175304", "1305031102.211214", "1305031102.243211"],
    ["1403636579.763555584", "1403636579.763555585", "1403636579.763555586"],
    ["-2", "-1", "0", "1"], ["-1.5", "-1.0", "-0.5", "0.0"], ["t_-2", "t_-1", "t_0"],
    ["x-1", "x0", "x1"], ["\u22122", "\u22121", "0"],
    ["run-1", "run-2", "run-3"], ["run2-8", "run2-9", "run2-10"], ["frame9", "frame10"],
    [f"1.{number}" for number in range(1, 13)], [f"a.{number}.b" for number in range(8, 12)],
    ["a1b2", "a1b10", "a2b1"], ["2021-05-03_10-59-59", "2021-05-03_11-00-00"],
    ["v1.0.9", "v1.0.10"], ["0", "5", "10"]])
def test_frames_come_in_the_natural_order_of_their_names(tmp_path, names):
    assert make_names(tmp_path / "frames", names) == names


@pytest.mark.parametrize("names, message", [
    (["2.20", "2.80", "4.00", "4.60"], "missing in .*after 2.80.png comes 4.00.png.* 0.60 apart"),
    (["-2", "-1", "1"], "after -1.png comes 1.png, but the others are 1 apart"),
    (["0.1", "0.10", "0.2"], "0.1.png and .*0.10.png have the same number 0.1"),
    (["left1", "right2"], "differ in their numbers alone; got .*left1.png and .*right2.png")])
def test_frames_whose_order_is_not_clear_are_refused(tmp_path, names, message):
    with pytest.raises(ValueError, match=message):
        make_names(tmp_path / "frames", names)


def test_several_numbers_are_said(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(logging, "warning", lambda text, *values: said.append(text % values))
    make_names(tmp_path / "frames", ["a1b2", "a2b1"])
    assert len(said) == 1 and "by 2 numbers in their names, from a1b2.png to a2b1.png" in said[0]


def png(colour_type, bits, size=(4, 4)):
    """A PNG file by hand: PIL writes none of 16 bits a channel in colour."""
    def chunk(kind, content):
        crc = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)

    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour_type]
    row = b"\0" + bytes(range(1, size[0] * channels * bits // 8 + 1))
    return (frames.PNG_START
            + chunk(b"IHDR", struct.pack(">IIBBBBB", *size, bits, colour_type, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(row * size[1])) + chunk(b"IEND", b""))


@pytest.mark.parametrize("colour_type", [0, 2, 4, 6])
def test_frames_of_16_bits_are_refused(tmp_path, colour_type):
    """Grey, colour, and both with transparency."""
    (tmp_path / "1.png").write_bytes(png(colour_type, 8))
    assert next(frame_folders.iter_pictures(tmp_path)).shape == (4, 4, 3)
    (tmp_path / "1.png").write_bytes(png(colour_type, 16))
    with pytest.raises(ValueError, match="1.png must have 8 bits a channel.*of 16 bits"):
        next(frame_folders.iter_pictures(tmp_path))


def test_the_declared_size_of_a_frame_is_held_against_the_limit(tmp_path):
    huge = bytearray(png(2, 8))
    huge[16:24] = struct.pack(">II", 30_000, 30_000)
    huge[29:33] = struct.pack(">I", zlib.crc32(bytes(huge[12:29])))
    (tmp_path / "1.png").write_bytes(huge)
    with pytest.raises(ValueError, match="1.png cannot be read.*decompression bomb"):
        next(frame_folders.iter_pictures(tmp_path))
    Image.new("RGB", (100, 100)).save(tmp_path / "1.png")
    with pytest.raises(ValueError, match="1.png declares 40,000 bytes .* at most 39,999 "):
        next(frame_folders.iter_pictures(tmp_path, max_bytes=39_999))


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("no"), NotImplementedError("no"),
                                   zlib.error("no"), OverflowError("no"), struct.error("no"),
                                   Image.DecompressionBombError("no")])
def test_whatever_pil_raises_is_a_sentence(tmp_path, monkeypatch, error):
    def broken(*_, **__):
        raise error

    (tmp_path / "1.png").touch()
    monkeypatch.setattr(Image, "open", broken)
    with pytest.raises(ValueError, match="The frame .*1.png cannot be read: it is trunc") as caught:
        next(frame_folders.iter_pictures(tmp_path))
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("mode", ["P", "L", "1"])
def test_masks_are_the_numbers_of_a_palette_or_of_grey(tmp_path, mode):
    ids = np.array([[0, 1], [1, 0]] if mode == "1" else [[0, 1], [7, 255]], np.uint8)
    picture = Image.fromarray(ids * 255).convert("1") if mode == "1" else Image.fromarray(ids)
    if mode == "P":
        picture = Image.frombytes("P", (2, 2), ids.tobytes())
        picture.putpalette(list(np.random.default_rng(0).integers(0, 256, 768)))
    picture.save(tmp_path / "1.png")
    np.testing.assert_array_equal(next(frame_folders.iter_masks([tmp_path / "1.png"])), ids)


def test_colours_are_no_masks(tmp_path):
    Image.new("RGB", (2, 2), (7, 7, 7)).save(tmp_path / "1.png")  # grey
    assert (next(frame_folders.iter_masks([tmp_path / "1.png"])) == 7).all()
    Image.new("RGB", (2, 2), (7, 7, 8)).save(tmp_path / "1.png")
    with pytest.raises(ValueError, match="mask .*1.png must be a PNG with a palette.*mode is RGB"):
        next(frame_folders.iter_masks([tmp_path / "1.png"]))


def test_links_are_followed_and_loops_refused(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.npz").touch()
    (tmp_path / "elsewhere" / "._a.npz").touch()  # as macOS puts beside files
    (tmp_path / "set" / "linked").symlink_to(tmp_path / "elsewhere")
    found = source_files.find(tmp_path / "set", r".*\.npz", "episodes")
    assert found == [tmp_path / "set" / "linked" / "a.npz"]
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "set")
    with pytest.raises(ValueError, match="link .* leads back to a folder that it lies in"):
        source_files.find(tmp_path / "set", r".*\.npz", "episodes")


def test_encoded_pictures_of_16_bits_in_colour_are_refused():
    assert frames.decode([png(2, 8)]).shape == (1, 4, 4, 3)
    with pytest.raises(ValueError, match="must have 8 bits a channel; one has 16"):
        frames.decode([png(2, 16)])


def test_encoded_bombs_are_refused():
    huge = bytearray(png(2, 8))
    huge[16:24] = struct.pack(">II", 30_000, 30_000)
    huge[29:33] = struct.pack(">I", zlib.crc32(bytes(huge[12:29])))
    with pytest.raises(ValueError, match="A picture cannot be decoded .*decompression bomb"):
        frames.decode([bytes(huge)])


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_a_damaged_jpg_is_refused(tmp_path, options):
    """PIL reads on, and the rest of it is another picture. Without a checksum not all is seen."""
    picture = np.random.default_rng(0).normal(120, 25, (120, 160, 3)).clip(0, 255).astype(np.uint8)
    Image.fromarray(picture).save(tmp_path / "1.jpg", **options)
    assert next(frame_folders.iter_pictures(tmp_path)).shape == (120, 160, 3)
    content = (tmp_path / "1.jpg").read_bytes()
    (tmp_path / "1.jpg").write_bytes(content[:3000] + content[3600:])
    with pytest.raises(ValueError, match="1.jpg cannot be read: .*its picture is damaged"):
        next(frame_folders.iter_pictures(tmp_path))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_a_changed_bit_of_a_png_is_noticed(tmp_path, mode):
    """PIL does not look at the checksums of pixels."""
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)
    Image.fromarray(noise).convert(mode).save(tmp_path / "1.png")
    content = bytearray((tmp_path / "1.png").read_bytes())
    for at in np.linspace(40, len(content) - 1, 25).astype(int):
        damaged = bytearray(content)
        damaged[at] ^= 1
        (tmp_path / "1.png").write_bytes(damaged)
        with pytest.raises(ValueError, match="The frame .*1.png cannot be read"):
            next(frame_folders.iter_pictures(tmp_path))
