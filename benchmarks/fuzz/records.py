"""Mutations of TFRecord files, zips, tars and arrays by their structure, with right checksums."""

import bz2
import functools
import gzip
import io
import struct
import zipfile
import zlib

import google_crc32c
import numpy as np
from tensorflow_datasets.proto import tf_example_pb2

from benchmarks.fuzz import damage, pictures, texts
from benchmarks.fuzz.damage import Mutation, Mutator

BOMB = 3 * 2 ** 29  # bytes of zeros: more than a case may take
NUMBERS = (float("nan"), float("inf"), -float("inf"), 1e300, -1e300, 1e38, 0.0, -0.0)


def tfrecord(content: bytes, rng: np.random.Generator) -> Mutation:
    """A record is changed, left out, doubled or declared huge, under right checksums."""
    records = _split_records(content)
    at = int(rng.integers(len(records)))
    kind = rng.integers(8)
    lengths = [len(record) for record in records]
    if kind == 0:
        del records[at], lengths[at]
        what = "record out"
    elif kind == 1:
        records.insert(at, records[rng.integers(len(records))])
        lengths.insert(at, len(records[at]))
        what = "record twice"
    elif kind == 2:
        lengths[at] = int((2 ** 64 - 1, 2 ** 63 - 1, 2 ** 44, 2 ** 33, 0, 1,
                           lengths[at] + 1)[rng.integers(7)])
        what = "length"
    elif kind == 3:
        records[at] = damage.damaged(records[at], rng).content
        lengths[at], what = len(records[at]), "bytes"
    else:
        records[at], what = _changed_example(records[at], rng)
        lengths[at] = len(records[at])
    return Mutation(b"".join(map(_framed, records, lengths)), f"record: {what}", sealed=True)


def _changed_example(record: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    """A tf.train.Example with one feature changed."""
    example = tf_example_pb2.Example.FromString(record)
    features = example.features.feature
    # Names that readers ask for; the others change nothing.
    name = sorted(features)[rng.integers(len(features))]
    feature = features[name]
    values = getattr(feature, feature.WhichOneof("kind") or "bytes_list").value
    kind = rng.integers(7)
    if kind == 0:
        del features[name]
        return example.SerializeToString(), "feature out"
    if kind == 1:
        features[f"{name}_"].CopyFrom(feature)
        del features[name]
        return example.SerializeToString(), "feature renamed"
    if kind == 2:
        other = ("bytes_list", "float_list", "int64_list")[rng.integers(3)]
        feature.Clear()
        getattr(feature, other).value.extend(
            {"bytes_list": [b"x"], "float_list": [1.0] * 7, "int64_list": [2 ** 62]}[other])
        return example.SerializeToString(), "feature of another kind"
    if not values or kind == 3:
        del values[:]
        return example.SerializeToString(), "feature empty"
    at = int(rng.integers(len(values)))
    if kind == 4:
        del values[at]
        return example.SerializeToString(), "value out"
    if isinstance(values[at], bytes):
        values[at] = _changed_string(values[at], rng)
    elif isinstance(values[at], float):
        number = NUMBERS[rng.integers(len(NUMBERS))]
        values[at] = float(np.clip(number, -3e38, 3e38)) if np.isfinite(number) else number
    else:
        values[at] = int((-1, 0, 2 ** 62, -2 ** 62)[rng.integers(4)])
    return example.SerializeToString(), "value"


def _changed_string(value: bytes, rng: np.random.Generator) -> bytes:
    if value.startswith(pictures.PNG_START) and rng.integers(2):
        return pictures.png_chunk(value, rng).content
    if value.startswith(b"\xff\xd8") and rng.integers(2):
        return pictures.jpeg_segment(value, rng).content
    return damage.damaged(value, rng).content


def _split_records(content: bytes) -> list[bytes]:
    records, at = [], 0
    while at < len(content):
        size, = struct.unpack_from("<Q", content, at)
        records.append(content[at + 12:at + 12 + size])
        at += 16 + size
    return records


def _framed(record: bytes, length: int) -> bytes:
    head = struct.pack("<Q", length)
    return b"".join([head, _masked(head), record, _masked(record)])


def _masked(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xa282ead8) & 0xffffffff)


def in_gzip(mutator: Mutator) -> Mutator:
    """Of what a gzip holds."""
    def mutate(content: bytes, rng: np.random.Generator) -> Mutation:
        if rng.integers(300) == 0:
            return Mutation(content + _gzip_bomb(), "bomb", sealed=True)
        inner = mutator(gzip.decompress(content), rng)
        return inner._replace(content=gzip.compress(inner.content, 1, mtime=0), sealed=True)

    return mutate


def in_bzip(mutator: Mutator) -> Mutator:
    """Of what a bzip2 holds."""
    def mutate(content: bytes, rng: np.random.Generator) -> Mutation:
        inner = mutator(bz2.decompress(content), rng)
        return inner._replace(content=bz2.compress(inner.content, 1), sealed=True)

    return mutate


def tar_header(content: bytes, rng: np.random.Generator) -> Mutation:
    """A field of the header of the only member, with a right checksum; or the member's records."""
    header, size = bytearray(content[:512]), int(content[124:135], 8)
    kind = rng.integers(4)
    if kind == 0:
        body = tfrecord(content[512:512 + size], rng).content
        header[124:136] = b"%011o\0" % len(body)
        content, what = content[:512] + body + bytes(-len(body) % 512 + 1024), "member"
    elif kind == 1:
        field = (b"77777777777\0", b"\x80" + b"\xff" * 11, b"\x80\0\0\0\0\0\0\xff\xff\xff\xff\xff",
                 b"00000000000\0", b"-1\0\0\0\0\0\0\0\0\0\0", b"x" * 12)
        header[124:136], what = field[rng.integers(len(field))], "size"
    elif kind == 2:
        header[156:157], what = b"\x0012345678gxLKSV"[(at := int(rng.integers(16))):at + 1], "kind"
    else:
        at = int(rng.integers(512))
        header[at:at + 1], what = rng.bytes(1), "header"
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 256 + sum(header[156:512]))
    return Mutation(bytes(header[:512]) + content[512:], f"tar {what}", sealed=True)


def in_zip(inner: dict[str, tuple[Mutator, ...]]) -> Mutator:
    """Of the members of a zip, by the ends of their names, or of how they are kept."""
    def mutate(content: bytes, rng: np.random.Generator) -> Mutation:
        if rng.integers(3) == 0:
            return _directory(content, rng)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [[info.filename, archive.read(info)] for info in archive.infolist()]
        at = int(rng.integers(len(members)))
        name, data = members[at]
        kind = rng.integers(12)
        if kind == 0:
            del members[at]
            what = "member out"
        elif kind == 1:
            members.insert(at, [name, members[rng.integers(len(members))][1]])
            what = "member twice"
        elif kind == 2:
            members[at][0], what = name + "_", "member renamed"
        elif kind == 3 and rng.integers(8) == 0:
            return Mutation(_zip(members[:at] + members[at + 1:], name), "bomb", sealed=True)
        else:
            choices = next((mutators for end, mutators in inner.items() if name.endswith(end)),
                           (damage.damaged,))
            changed = choices[rng.integers(len(choices))](data, rng)
            members[at][1], what = changed.content, changed.what
        return Mutation(_zip(members), f"zip: {what}", sealed=True)

    return mutate


def _directory(content: bytes, rng: np.random.Generator) -> Mutation:
    """A field of an entry in the directory of a zip, or of the entry before its member."""
    start, offset = ((b"PK\1\2", 46), (b"PK\3\4", 30), (b"PK\5\6", 22))[rng.integers(3)]
    starts = [at for at in range(len(content)) if content.startswith(start, at)]
    at = starts[rng.integers(len(starts))] + int(rng.integers(4, offset))
    put = (rng.bytes(1), damage.HUGE[rng.integers(len(damage.HUGE))], b"\1", b"\0\0")[
        rng.integers(4)]
    return Mutation(content[:at] + put + content[at + len(put):], "zip directory")


def _zip(members: list, bomb: str = "") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data, compresslevel=1)
        if bomb:
            _add_bomb(archive, bomb)
    return buffer.getvalue()


def _add_bomb(archive: zipfile.ZipFile, name: str) -> None:
    """A member that unpacks to BOMB bytes, an array of zeros if its name says so."""
    archive.writestr(zipfile.ZipInfo(name), b"")
    packed, crc = _deflated(npy_header((BOMB,)) if name.endswith(".npy") else b"")
    info = archive.filelist[-1]
    size = BOMB + (len(npy_header((BOMB,))) if name.endswith(".npy") else 0)
    info.compress_type, info.CRC = zipfile.ZIP_DEFLATED, crc
    info.compress_size, info.file_size = len(packed), size
    archive.fp.seek(info.header_offset)
    archive.fp.write(info.FileHeader() + packed)
    archive.start_dir = archive.fp.tell()


@functools.cache
def _deflated(start: bytes) -> tuple[bytes, int]:
    """BOMB zeros after a start, deflated, and their checksum."""
    block = bytes(2 ** 24)
    count, crc = BOMB // len(block), zlib.crc32(start)
    for _ in range(count):
        crc = zlib.crc32(block, crc)
    deflater = zlib.compressobj(9, wbits=-15)
    first = deflater.compress(start) + deflater.flush(zlib.Z_FULL_FLUSH)
    # From a full flush to the next the bytes depend on nothing before: one block does for all.
    packed = deflater.compress(block) + deflater.flush(zlib.Z_FULL_FLUSH)
    return first + packed * count + deflater.flush(), crc


@functools.cache
def _gzip_bomb() -> bytes:
    """A further member of a gzip, whose first record says that it is as long as all of it."""
    head = struct.pack("<Q", BOMB)
    packed, crc = _deflated(head + _masked(head))
    return (b"\x1f\x8b\x08" + bytes(7) + packed
            + struct.pack("<II", crc, (BOMB + 12) & 0xffffffff))


def npy_header(shape: tuple, kind: str = "'|u1'", order: str = "False") -> bytes:
    text = f"{{'descr': {kind}, 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text


def npy(content: bytes, rng: np.random.Generator) -> Mutation:
    """The header of an array says something else, or its numbers are none that one should use."""
    array = np.load(io.BytesIO(content))
    data = content[-array.nbytes:]
    kind = rng.integers(6)
    if kind == 0 and array.dtype.kind == "f":
        flat = array.copy()
        flat.flat[rng.integers(flat.size)] = NUMBERS[rng.integers(len(NUMBERS))]
        return Mutation(_npy(flat), "npy number", sealed=True)
    if kind == 1:
        return Mutation(_npy(_another(array, rng)), "npy array", sealed=True)
    shape, name, order = array.shape, repr(array.dtype.str), "False"
    if kind == 2:
        shapes = ((2 ** 40,), (-1,), (0,), (), (2 ** 62, 2 ** 62), (2 ** 31, *shape),
                  (*shape, 0), shape[::-1], "(", "((((" * 200, (1.5,), ("x",),
                  (10 ** 30,), shape[0])
        shape = shapes[rng.integers(len(shapes))]
    elif kind == 3:
        names = ("'|O'", "'<f8'", "'<f2'", "'<c16'", "'|V9'", "'<U9'", "[('a', '<f4')]", "'x'", "1",
                 "'|b1'", "'>f4'", "'<M8[s]'", "[" * 300, "'|S0'", "[('a', '<f4', (99999999,))]")
        name = names[rng.integers(len(names))]
    elif kind == 4:
        order = ("True", "1", "None", "x", "'" * 3)[rng.integers(5)]
    else:
        header = damage.damaged(content[:len(content) - array.nbytes], rng).content
        return Mutation(header + data, "npy header", sealed=True)
    return Mutation(npy_header(shape, name, order) + data, "npy header", sealed=True)


def _another(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An array of other values, axes or type."""
    made = (lambda: array[:-1], lambda: array[None], lambda: array[..., 0],
            lambda: np.full(array.shape, 1e300), lambda: array.astype(np.float64),
            lambda: array.astype(np.complex64), lambda: np.full(array.shape, -1, np.int64),
            lambda: np.full(array.shape, 300, np.uint16), lambda: array[:0], lambda: array[:1],
            lambda: array.astype(str), lambda: array[:, :0], lambda: np.float32(1),
            lambda: np.full(array.shape, np.nan, np.float32), lambda: array.T)
    return np.asarray(made[rng.integers(len(made))]())


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=False)
    return buffer.getvalue()


NPZ = in_zip({".npy": (npy, npy, damage.damaged)})
CLEVRER_ZIP = in_zip({".json": (texts.json_value, texts.json_text, damage.damaged)})
CHUNK = in_zip({".json": (texts.json_value, texts.json_text), ".npy": (npy, damage.damaged)})
