"""TFRecord files of tf.train.Example, read without TensorFlow.

A file is a row of records, each of them: length (uint64, little endian), masked CRC-32C of the
length (uint32), the bytes, masked CRC-32C of the bytes (uint32); the whole plain, or compressed by
GZIP or ZLIB
(https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details). The proto is
the one that TFDS ships.
"""

import dataclasses
import io
import os
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import google_crc32c
import numpy as np
from PIL import Image, UnidentifiedImageError
from tensorflow_datasets.proto import tf_example_pb2

from parts_jax.data.formats import frames, limits, reading

HEADER_SIZE = 12  # length and its checksum
CHECKSUM_SIZE = 4
CHUNK_SIZE = 2 ** 20
READ_AT_ONCE = 2 ** 26
PICTURES = ("PNG", "JPEG")  # PIL's other readers are not for files of strangers
GZIP_OR_ZLIB = 47  # zlib's wbits for either header
MANY_FEATURES = 30


@dataclasses.dataclass(frozen=True)
class Example:
    """A tf.train.Example.

    Attributes:
      source: where it comes from, such as "record 3 of /data/x.tfrecord", for messages.
      features: name to tf.train.Feature.
      max_bytes: that decoded pictures may take together; see limits.py.
    """

    source: str
    features: Mapping[str, Any]
    max_bytes: int = limits.MAX_BYTES

    def numbers(self, key: str) -> np.ndarray:
        """The numbers of a feature: float32 [N] or int64 [N].

        Raises:
          ValueError: if there is no such feature, or it holds byte strings.
        """
        feature = self._feature(key)
        kind = feature.WhichOneof("kind")
        if kind == "bytes_list":
            raise ValueError(f"The feature {key!r} of {self.source} must hold numbers, but holds "
                             "byte strings.")
        if kind == "int64_list":
            return np.array(feature.int64_list.value, np.int64)
        return np.array(feature.float_list.value, np.float32)

    def strings(self, key: str) -> Sequence[bytes]:
        """The byte strings of a feature.

        Raises:
          ValueError: if there is no such feature, or it holds numbers.
        """
        return self._bytes_list(key).value

    def pictures(self, key: str, which: slice = slice(None)) -> np.ndarray:
        """Decoded PNG or JPEG pictures of a feature: [T, H, W, 3], or [T, H, W] if they are grey.

        Args:
          key: name of the feature.
          which: decodes only these.

        Raises:
          ValueError: if there is no such feature or picture, a string is no picture or is
            truncated, or the pictures differ in size or take more memory than allowed.
        """
        encoded = self.strings(key)[which]
        sentence = f"The {len(encoded)} pictures {key!r} of {self.source} cannot be decoded:"
        if not encoded:
            raise ValueError(f"{sentence} there are none.")
        with reading.naming(self.source, sentence):
            try:
                sizes = [_declared_size(one) for one in encoded]
            except UnidentifiedImageError as error:
                raise ValueError(f"{sentence} one of them is no picture.") from error
            limits.check_declared(f"{key!r} of {self.source}", sum(sizes), self.max_bytes)
            return frames.decode(encoded)

    def pixels(self, key: str, shape: Sequence[int]) -> np.ndarray:
        """Raw bytes as an array: uint8 of this shape.

        The bytes are either one string, or as many strings of one byte each.

        Raises:
          ValueError: if there is no such feature, or it has another number of bytes.
        """
        bytes_list = self._bytes_list(key)
        if len(bytes_list.value) == 1:
            values = np.frombuffer(bytes_list.value[0], np.uint8)
        else:
            values = _single_bytes(bytes_list)
        if values is None or values.size != np.prod(shape):
            got = ("strings of several bytes" if values is None else f"{values.size} bytes")
            raise ValueError(f"The feature {key!r} of {self.source} must hold "
                             f"{np.prod(shape)} bytes, of shape {list(shape)}; got {got}.")
        return values.reshape(shape)

    def _bytes_list(self, key: str) -> Any:
        feature = self._feature(key)
        if feature.WhichOneof("kind") not in ("bytes_list", None):
            raise ValueError(f"The feature {key!r} of {self.source} must hold byte strings, but "
                             "holds numbers.")
        return feature.bytes_list

    def _feature(self, key: str) -> Any:
        if key not in self.features:
            names = sorted(self.features)
            more = ", ..." if len(names) > MANY_FEATURES else ""
            raise ValueError(f"There is no feature {key!r} in {self.source}. It has: "
                             f"{', '.join(names[:MANY_FEATURES])}{more}.")
        return self.features[key]


def read_examples(path: str | os.PathLike,
                  max_bytes: int = limits.MAX_BYTES) -> Iterator[Example]:
    """Yields the examples of a file, plain or compressed, with one of them in memory at a time.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if the file is truncated, damaged, or no TFRecord file of examples, or a record
        takes more memory than allowed.
    """
    with reading.naming(path), open(path, "rb") as file:
        yield from read_stream(file, os.fspath(path), max_bytes)


def read_stream(stream: BinaryIO, source: str,
                max_bytes: int = limits.MAX_BYTES) -> Iterator[Example]:
    """As `read_examples`, of an open file that need not be seekable; `source` names it."""
    for index, record in enumerate(_records(stream, source, max_bytes)):
        name = f"record {index} of {source}"
        with reading.naming(name, f"There is no tf.train.Example in {name}"):
            parsed = tf_example_pb2.Example.FromString(record)
        yield Example(name, parsed.features.feature, max_bytes)


def masked_crc(data: bytes) -> int:
    """The checksum of the format: CRC-32C, rotated right by 15 bits, plus a constant."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xa282ead8) & 0xffffffff


def _single_bytes(bytes_list: Any) -> np.ndarray | None:
    """The bytes of strings of one byte each; None if one of them is longer or empty."""
    # On the wire each such string is the tag 10, the length 1 and the byte: far faster to take
    # apart than a million Python strings.
    wire = np.frombuffer(bytes_list.SerializeToString(), np.uint8)
    if wire.size != 3 * len(bytes_list.value) or (wire[1::3] != 1).any():
        return None
    return wire[2::3]


def _records(stream: BinaryIO, source: str, max_bytes: int) -> Iterator[bytes]:
    """The bytes of the records of a file."""
    stream = _decompressed(stream, source)
    index = 0
    while header := stream.read(HEADER_SIZE):
        if len(header) < HEADER_SIZE:
            raise ValueError(f"The file {source} is truncated in the header of record {index}.")
        length, length_crc = struct.unpack("<QI", header)
        if masked_crc(header[:8]) != length_crc:
            raise ValueError(f"The file {source} is damaged: the checksum of the length of record "
                             f"{index} is wrong.")
        limits.check_declared(f"Record {index} of {source}", length, max_bytes)
        record = _read(stream, length)
        checksum = stream.read(CHECKSUM_SIZE)
        if len(record) < length or len(checksum) < CHECKSUM_SIZE:
            raise ValueError(f"The file {source} is truncated in record {index}: of its {length} "
                             f"bytes and their checksum, {len(record) + len(checksum)} bytes are "
                             "there.")
        if masked_crc(record) != struct.unpack("<I", checksum)[0]:
            raise ValueError(f"The file {source} is damaged: the checksum of record {index} is "
                             "wrong.")
        yield record
        index += 1


def _read(stream: BinaryIO, length: int) -> bytes:
    """At most `length` bytes; a length that is a lie takes no memory."""
    if length <= READ_AT_ONCE:
        return stream.read(length)
    parts = []
    while length and (part := stream.read(min(length, READ_AT_ONCE))):
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def _declared_size(picture: bytes) -> int:
    """The bytes that an encoded picture takes once it is decoded, by its header."""
    with Image.open(io.BytesIO(picture), formats=PICTURES) as opened:
        wide = 4 if opened.mode in ("I", "F") else 2 if opened.mode.startswith("I;16") else 1
        return opened.width * opened.height * len(opened.getbands()) * wide


def _decompressed(stream: BinaryIO, source: str) -> BinaryIO:
    """The stream itself if it is plain, or its decompressed bytes, judged by its first bytes."""
    start = stream.read(HEADER_SIZE)
    rest = _Prefixed(start, stream)
    if not start:
        raise ValueError(f"The file {source} is empty.")
    # A plain file may begin as a compressed one does, but not with a right checksum too.
    is_plain = (len(start) == HEADER_SIZE
                and masked_crc(start[:8]) == struct.unpack("<I", start[8:])[0])
    is_gzip = start[:2] == b"\x1f\x8b"
    is_zlib = start[0] == 0x78 and int.from_bytes(start[:2], "big") % 31 == 0
    if is_plain:
        return rest
    if is_gzip or is_zlib:
        return _Inflated(rest, source)
    raise ValueError(f"The file {source} is no TFRecord file, or damaged in its first "
                     f"{HEADER_SIZE} bytes: they are neither the header of a record nor that of "
                     "GZIP or ZLIB.")


class _Prefixed:
    """A stream after some bytes that were already read from it."""

    def __init__(self, start: bytes, stream: BinaryIO):
        self._start, self._stream = start, stream

    def read(self, size: int) -> bytes:
        start, self._start = self._start[:size], self._start[size:]
        return start + self._stream.read(size - len(start)) if start else self._stream.read(size)


class _Inflated:
    """The decompressed bytes of a GZIP or ZLIB stream, which must be whole."""

    def __init__(self, stream: BinaryIO, source: str):
        self._stream, self._source = stream, source
        self._inflater = zlib.decompressobj(GZIP_OR_ZLIB)
        self._pending = b""  # compressed bytes that were read and not used yet

    def read(self, size: int) -> bytes:
        parts = []
        while size > 0 and (part := self._read_some(size)):
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _read_some(self, size: int) -> bytes:
        """At most `size` bytes; none at the end."""
        part = b""
        while not part:
            if self._inflater.eof:
                # GZIP files may have several members one after the other.
                self._pending = self._inflater.unused_data or self._stream.read(CHUNK_SIZE)
                if not self._pending:
                    return b""
                self._inflater = zlib.decompressobj(GZIP_OR_ZLIB)
            chunk = self._pending or self._stream.read(CHUNK_SIZE)
            try:
                part = self._inflater.decompress(chunk, size)
            except zlib.error as error:
                raise ValueError(f"The compressed file {self._source} is damaged: {error}.") from (
                    error)
            # The inflater may still hold output when all input was given to it.
            if not chunk and not part and not self._inflater.eof:
                raise ValueError(f"The compressed file {self._source} is truncated.")
            self._pending = self._inflater.unconsumed_tail
        return part
