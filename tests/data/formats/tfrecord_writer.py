"""Writes TFRecord files, tf.train.Examples and TFDS copies byte by byte, for the tests of readers.

Nothing here is shared with the readers: protobuf fields and checksums are made by hand.
"""

import functools
import gzip
import io
import json
import pathlib
import struct
import zlib

import numpy as np
from PIL import Image

POLYNOMIAL = 0x82f63b78  # Castagnoli, reflected
BYTES_LIST, FLOAT_LIST, INT64_LIST = 1, 2, 3


def crc_of_byte(byte):
    for _ in range(8):
        byte = byte >> 1 ^ (POLYNOMIAL if byte & 1 else 0)
    return byte


CRC_TABLE = [crc_of_byte(byte) for byte in range(256)]


def crc32c(data):
    """CRC-32C, byte by byte: all inputs here are small."""
    crc = 0xffffffff
    for byte in data:
        crc = CRC_TABLE[(crc ^ byte) & 0xff] ^ crc >> 8
    return crc ^ 0xffffffff


def masked(crc):
    return ((crc >> 15 | (crc << 17 & 0xffffffff)) + 0xa282ead8) % 2 ** 32


def frame(record):
    """A record with its length and both checksums."""
    length = struct.pack("<Q", len(record))
    return b"".join([length, struct.pack("<I", masked(crc32c(length))), record,
                     struct.pack("<I", masked(crc32c(record)))])


def write(path, records, compression=""):
    """A TFRecord file; compression: "", "GZIP" or "ZLIB"."""
    data = b"".join(map(functools.lru_cache(frame), records))  # some are written several times
    if compression:
        data = {"GZIP": gzip.compress, "ZLIB": zlib.compress}[compression](data, 1)
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def varint(number):
    encoded = bytearray()
    while number > 0x7f:
        encoded.append(number & 0x7f | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def field(number, payload):
    """A length-delimited field of a proto."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def feature(values):
    """A tf.train.Feature: of byte strings, of integers (or bools), or of floats."""
    if isinstance(values, bytes):
        values = [values]
    if isinstance(values, list):
        return field(BYTES_LIST, b"".join(field(1, value) for value in values))
    values = np.asarray(values).ravel()
    if values.dtype.kind == "f":
        return field(FLOAT_LIST, field(1, values.astype("<f4").tobytes()))
    return field(INT64_LIST, field(1, b"".join(varint(int(value)) for value in values)))


def example(features):
    """A tf.train.Example of features by their names."""
    entries = (field(1, field(1, key.encode()) + field(2, feature(values)))
               for key, values in features.items())
    return field(1, b"".join(entries))


def byte_strings(array):
    """Every byte of an array as a string of its own, as the multi-object sets have them."""
    return [bytes([value]) for value in np.asarray(array, np.uint8).ravel().tolist()]


def picture(array, kind="PNG"):
    """An encoded picture of uint8 [H, W, 3], uint8 [H, W] or uint16 [H, W]."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format=kind)
    return buffer.getvalue()


def write_tfds(folder, name, splits, version="1.0.0"):
    """A TFDS copy; `splits`: split to a list of shards, each a list of records."""
    folder.mkdir(parents=True, exist_ok=True)
    infos = []
    for split, shards in splits.items():
        infos.append({"name": split, "numBytes": "1",
                      "shardLengths": [str(len(shard)) for shard in shards],
                      "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"})
        for index, shard in enumerate(shards):
            write(folder / f"{name}-{split}.tfrecord-{index:05d}-of-{len(shards):05d}", shard)
    (folder / "dataset_info.json").write_text(json.dumps(
        {"name": name, "version": version, "description": "For tests.", "splits": infos,
         "fileFormat": "tfrecord"}))
    return folder
