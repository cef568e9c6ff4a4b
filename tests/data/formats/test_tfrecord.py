"""TFRecord files, written byte by byte, are read back; whatever is wrong with one is said."""

import gzip
import io
import re
import struct
import tracemalloc
import zlib

import numpy as np
import pytest

from parts_jax.data.formats import tfrecord
from tests.data.formats import tfrecord_writer as writer

COMPRESSIONS = ("", "GZIP", "ZLIB")
RECORDS = [writer.example({"x": [b"one", b"", b"three"], "n": np.array([index, 7])})
           for index in range(5)]


def read(path):
    return list(tfrecord.read_examples(path))


def test_checksums_are_those_of_the_standards():
    # RFC 3720, B.4: 32 bytes of zeros have the CRC-32C 8a9136aa.
    assert writer.crc32c(bytes(32)) == 0x8a9136aa
    assert tfrecord.masked_crc(bytes(32)) == writer.masked(0x8a9136aa)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_records_are_read_in_order(tmp_path, compression):
    examples = read(writer.write(tmp_path / "x", RECORDS, compression))
    assert [example.numbers("n").tolist() for example in examples] == [[i, 7] for i in range(5)]
    assert list(examples[2].strings("x")) == [b"one", b"", b"three"]
    assert examples[3].source == f"record 3 of {tmp_path / 'x'}"


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_large_records_are_read_whole(tmp_path, compression):
    rng = np.random.default_rng(0)
    # Bytes that compress badly, and bytes that grow a thousandfold.
    blobs = [rng.bytes(50_000), bytes(3_000_000), rng.bytes(1)]
    write_fast = [writer.example({"x": blob}) for blob in blobs]
    path = tmp_path / "x"
    framed = b"".join(struct.pack("<QI", len(r), tfrecord.masked_crc(struct.pack("<Q", len(r)))) + r
                      + struct.pack("<I", tfrecord.masked_crc(r)) for r in write_fast)
    path.write_bytes({"": bytes, "GZIP": gzip.compress,
                      "ZLIB": writer.zlib.compress}[compression](framed))
    assert [bytes(example.strings("x")[0]) for example in read(path)] == blobs


def test_gzip_members_are_read_one_after_the_other(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(gzip.compress(writer.frame(RECORDS[0])) + gzip.compress(
        writer.frame(RECORDS[1])))
    assert [example.numbers("n")[0] for example in read(path)] == [0, 1]


def test_a_plain_file_that_begins_like_gzip_is_read_as_plain(tmp_path):
    record = writer.example({"x": bytes(0x8b1f - 23)})
    assert len(record) == 0x8b1f
    path = writer.write(tmp_path / "x", [record])
    assert path.read_bytes()[:2] == b"\x1f\x8b"
    assert len(read(path)) == 1


def test_numbers_keep_their_kind():
    features = {"f": np.array([1.5, -2.0], np.float32), "i": np.array([3, 2 ** 40]),
                "b": np.array([True, False])}
    record = writer.frame(writer.example(features))
    example, = tfrecord.read_stream(io.BytesIO(record), "memory")
    assert example.numbers("f").dtype == np.float32
    assert example.numbers("i").dtype == np.int64
    assert example.numbers("f").tolist() == [1.5, -2]
    assert example.numbers("i").tolist() == [3, 2 ** 40]
    assert example.numbers("b").tolist() == [1, 0]


def one(**features):
    example, = tfrecord.read_stream(io.BytesIO(writer.frame(writer.example(features))), "memory")
    return example


def test_pixels_are_read_from_one_string_and_from_strings_of_one_byte():
    pixels = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4) * 10
    for values in (pixels.tobytes(), writer.byte_strings(pixels)):
        np.testing.assert_array_equal(one(x=values).pixels("x", (2, 3, 4)), pixels)
    assert one(x=b"\xff").pixels("x", (1, 1)).tolist() == [[255]]


@pytest.mark.parametrize("values, message", [
    (bytes(5), r"'x' of record 0 of memory must hold 6 bytes, of shape \[2, 3\]; got 5 bytes"),
    ([b"a"] * 7, "must hold 6 bytes.*got 7 bytes"),
    ([b"a"] * 4 + [b"", b"ab"], "got strings of several bytes"),
    ([], "got 0 bytes"),
])
def test_wrong_numbers_of_bytes_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        one(x=values).pixels("x", (2, 3))


def test_pictures_are_decoded():
    rng = np.random.default_rng(0)
    video = rng.integers(0, 256, (4, 6, 5, 3), np.uint8)
    mask = rng.integers(0, 256, (4, 6, 5), np.uint8)
    deep = rng.integers(0, 65536, (4, 6, 5), np.uint16)
    for array in (video, mask, deep):
        example = one(x=[writer.picture(frame) for frame in array])
        np.testing.assert_array_equal(example.pictures("x"), array)
        np.testing.assert_array_equal(example.pictures("x", slice(1, 3)), array[1:3])


@pytest.mark.parametrize("values", [
    [b"no picture"], [writer.picture(np.zeros((9, 9, 3), np.uint8), "JPEG")[:-40]], [],
    [writer.picture(np.zeros((size, 4, 3), np.uint8)) for size in (4, 5)]],
    ids=["no picture", "truncated", "none", "two sizes"])
def test_wrong_pictures_are_refused(values):
    with pytest.raises(ValueError, match=f"The {len(values)} pictures 'x' of record 0 of memory "
                                         "cannot be decoded: .+"):
        one(x=values).pictures("x")


def test_a_missing_feature_is_answered_with_the_others():
    with pytest.raises(ValueError, match="no feature 'z' in record 0 of memory. It has: n, x."):
        one(x=b"1", n=np.array([1])).numbers("z")


def test_a_feature_of_the_wrong_kind_is_refused():
    with pytest.raises(ValueError, match="'x' of record 0 of memory must hold numbers, but holds "
                                         "byte"):
        one(x=b"1").numbers("x")
    with pytest.raises(ValueError, match="must hold byte strings, but holds numbers"):
        one(x=np.array([1])).strings("x")


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_file_cut_off_anywhere_is_truncated(tmp_path, compression):
    path = writer.write(tmp_path / "x", RECORDS[:2], compression)
    whole = path.read_bytes()
    boundary = len(writer.frame(RECORDS[0]))
    assert len(whole) < 2 ** 10
    for size in range(1, len(whole)):
        if not compression and size == boundary:
            continue  # a plain file cut off between two records is a whole shorter file
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=re.escape(str(path))) as error:
            read(path)
        assert "truncated" in str(error.value) or size < tfrecord.HEADER_SIZE


def test_a_truncated_record_is_counted(tmp_path):
    path = writer.write(tmp_path / "x", RECORDS)
    path.write_bytes(path.read_bytes()[:-9])
    length = len(RECORDS[4])
    with pytest.raises(ValueError, match=rf"x is truncated in record 4: of its {length} bytes and "
                                         rf"their checksum, {length - 5} bytes are there"):
        read(path)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_no_flipped_bit_goes_unseen(tmp_path, compression):
    path = writer.write(tmp_path / "x", RECORDS[:2], compression)
    whole = path.read_bytes()
    first = RECORDS[:2]
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 1 << position % 8
        path.write_bytes(changed)
        try:
            records = [example.numbers("n").tolist() for example in read(path)]
        except ValueError as error:
            assert str(path) in str(error)
        else:
            # Some bits of a GZIP header, such as its time stamp, mean nothing.
            assert compression == "GZIP" and position < 10 and len(records) == len(first)


def test_a_wrong_checksum_names_its_record(tmp_path):
    path = writer.write(tmp_path / "x", RECORDS)
    data = bytearray(path.read_bytes())
    start = sum(len(writer.frame(record)) for record in RECORDS[:3])
    data[start + 20] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="x is damaged: the checksum of record 3 is wrong"):
        read(path)
    data[start + 20] ^= 1
    data[start + 1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="checksum of the length of record 3 is wrong"):
        read(path)


@pytest.mark.parametrize("content, message", [
    (b"", "x is empty"), (b"a text that is longer than a header", "x is no TFRecord file"),
    (writer.frame(b"\xff\xff\xff"), "no tf.train.Example in record 0 of .*x")])
def test_other_files_are_refused(tmp_path, content, message):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "x")


def test_one_record_is_in_memory_at_a_time(tmp_path):
    path = writer.write(tmp_path / "x", RECORDS)
    path.write_bytes(path.read_bytes()[:-1])
    examples = tfrecord.read_examples(path)
    assert [next(examples).numbers("n")[0] for _ in range(4)] == [0, 1, 2, 3]


def bomb(width, height):
    """A small PNG that declares a large picture."""
    content = bytearray(writer.picture(np.zeros((2, 2, 3), np.uint8)))
    content[16:24] = struct.pack(">II", width, height)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


def test_pictures_are_held_against_the_limit_before_they_are_decoded(tmp_path):
    path = writer.write(tmp_path / "x", [writer.example({"x": [bomb(4000, 1000)] * 3})])
    example, = tfrecord.read_examples(path, 10 ** 7)
    with pytest.raises(ValueError, match="'x' of record 0 of .*x declares 36,000,000 bytes"):
        example.pictures("x")
    assert "12,000,000" in str(pytest.raises(ValueError, example.pictures, "x", slice(1)).value)


@pytest.mark.parametrize("size", [(2 ** 31 - 1, 2 ** 31 - 1), (20_000, 20_000), (0, 4)])
def test_pictures_of_absurd_sizes_are_refused(size):
    with pytest.raises(ValueError, match="of record 0 of memory"):
        one(x=[bomb(*size)]).pictures("x")


def test_other_kinds_of_pictures_are_not_opened():
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n"
    with pytest.raises(ValueError, match="one of them is no picture"):
        one(x=[script]).pictures("x")


@pytest.mark.parametrize("length", [10 ** 6 + 1, 2 ** 62, 2 ** 64 - 1])
def test_records_are_held_against_the_limit_before_they_are_read(tmp_path, length):
    header = struct.pack("<Q", length)
    (tmp_path / "x").write_bytes(
        header + struct.pack("<I", writer.masked(writer.crc32c(header))) + b"few")
    with pytest.raises(ValueError, match=f"Record 0 of .*x declares {length:,} bytes"):
        list(tfrecord.read_examples(tmp_path / "x", 10 ** 6))


def test_a_length_that_is_a_lie_takes_no_memory(tmp_path):
    header = struct.pack("<Q", 2 ** 31)
    (tmp_path / "x").write_bytes(
        header + struct.pack("<I", writer.masked(writer.crc32c(header))) + b"few")
    tracemalloc.start()
    with pytest.raises(ValueError, match="x is truncated in record 0"):
        read(tmp_path / "x")
    assert tracemalloc.get_traced_memory()[1] < 2 ** 28
    tracemalloc.stop()


def test_a_folder_in_place_of_a_file(tmp_path):
    with pytest.raises(OSError, match=re.escape(str(tmp_path))):
        read(tmp_path)
