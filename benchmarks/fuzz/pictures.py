"""Mutations of pictures and videos by their structure: PNG, JPEG, GIF, and boxes of containers."""

import struct
import zlib

import numpy as np

from benchmarks.fuzz import damage
from benchmarks.fuzz.damage import Mutation

PNG_START = b"\x89PNG\r\n\x1a\n"
SIZES = (0, 1, 2, 7, 255, 4096, 65535, 65536, 10 ** 6, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1)
# Boxes of mp4 and mov whose payload counts, measures or points.
BOXES = (b"ftyp", b"moov", b"mvhd", b"trak", b"tkhd", b"edts", b"elst", b"mdia", b"mdhd", b"hdlr",
         b"minf", b"stbl", b"stsd", b"avc1", b"avcC", b"stts", b"stss", b"ctts", b"stsc", b"stsz",
         b"stco", b"mdat", b"mp4v", b"esds")
CHUNKS = (b"RIFF", b"LIST", b"hdrl", b"avih", b"strl", b"strh", b"strf", b"movi", b"00dc", b"idx1")
# Elements of Matroska by their ids, with the size behind them.
ELEMENTS = (b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\x11\x4d\x9b\x74", b"\x15\x49\xa9\x66",
            b"\x16\x54\xae\x6b", b"\xae", b"\xe0", b"\xb0", b"\xba", b"\x63\xa2",
            b"\x1f\x43\xb6\x75", b"\xe7", b"\xa3", b"\xa0", b"\x1c\x53\xbb\x6b", b"\xec", b"\xbf")


def png_chunk(content: bytes, rng: np.random.Generator) -> Mutation:
    """A chunk of a PNG is changed, left out, doubled or made huge; checksums are made right."""
    chunks = _png_chunks(content)
    at = int(rng.integers(len(chunks)))
    kind, data = chunks[at]
    choice = rng.integers(6)
    if choice == 0 and kind == b"IHDR":
        fields = list(struct.unpack(">IIBBBBB", data))
        place = int(rng.integers(7))
        fields[place] = SIZES[rng.integers(len(SIZES))] if place < 2 else int(rng.integers(18))
        chunks[at], what = (kind, struct.pack(">IIBBBBB", *fields)), "header field"
    elif choice == 1:
        del chunks[at]
        what = "chunk out"
    elif choice == 2:
        chunks.insert(at, chunks[rng.integers(len(chunks))])
        what = "chunk twice"
    elif choice == 3 and kind == b"IDAT":
        pixels = bytearray(zlib.decompress(data))
        pixels = damage.damaged(bytes(pixels), rng).content
        chunks[at], what = (kind, zlib.compress(pixels)), "pixels"
    elif choice == 4:
        name = (b"tRNS", b"PLTE", b"acTL", b"fdAT", b"iCCP", b"zTXt", b"gAMA", b"eXIf")
        chunks.insert(at, (name[rng.integers(len(name))], rng.bytes(int(rng.integers(40)))))
        what = "chunk of noise"
    else:
        chunks[at], what = (kind, damage.damaged(data, rng).content), "chunk changed"
    return Mutation(_png(chunks), f"PNG {what}", sealed=True)


def _png_chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    chunks, at = [], len(PNG_START)
    while at < len(content):
        size, = struct.unpack_from(">I", content, at)
        chunks.append((content[at + 4:at + 8], content[at + 8:at + 8 + size]))
        at += 12 + size
    return chunks


def _png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    return PNG_START + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks)


def jpeg_segment(content: bytes, rng: np.random.Generator) -> Mutation:
    """The size of the picture, or the content or length of a segment of a JPEG."""
    marks = [at for at in range(len(content) - 4) if content[at] == 0xff
             and 0xc0 <= content[at + 1] <= 0xfe and content[at + 1] != 0xd9]
    at = marks[rng.integers(len(marks))]
    frame = next(at for at in marks if content[at + 1] in (0xc0, 0xc2))
    if rng.integers(3) == 0:
        field = struct.pack(">H", min(SIZES[rng.integers(len(SIZES))], 65535))
        place, what = frame + (5, 7)[rng.integers(2)], "JPEG size"
    elif rng.integers(2):
        field, place, what = rng.bytes(2), at + 2, "JPEG length"
    else:
        field, place, what = rng.bytes(1), at + int(rng.integers(1, 12)), "JPEG segment"
    return Mutation(content[:place] + field + content[place + len(field):], what)


def gif_header(content: bytes, rng: np.random.Generator) -> Mutation:
    """The size of the screen or of a frame, or where blocks begin and end."""
    frames = [at for at in range(13, len(content) - 9) if content[at] == 0x2c] or [13]
    at = frames[rng.integers(len(frames))]
    place = (6, 8, at + 1, at + 3, at + 5, at + 7, at + 9)[rng.integers(7)]
    number = struct.pack("<H", min(SIZES[rng.integers(len(SIZES))], 65535))
    return Mutation(content[:place] + number + content[place + 2:], "GIF size")


def box(content: bytes, rng: np.random.Generator) -> Mutation:
    """A box of mp4 or mov: its length, its name, its content, or a huge number in it."""
    return _part(content, rng, BOXES, before=4, order=">I")


def chunk(content: bytes, rng: np.random.Generator) -> Mutation:
    """A chunk of avi, as `box`."""
    return _part(content, rng, CHUNKS, before=0, order="<I")


def _part(content: bytes, rng: np.random.Generator, names: tuple[bytes, ...], before: int,
          order: str) -> Mutation:
    """A named part, whose length stands so many bytes before its name, or else behind it."""
    there = [name for name in names if name in content]
    name = there[rng.integers(len(there))]
    starts = [at for at in range(len(content)) if content.startswith(name, at)]
    at = starts[rng.integers(len(starts))]
    kind = rng.integers(4)
    if kind == 0:
        place, put = (at - before if before else at + 4), struct.pack(
            order, SIZES[rng.integers(len(SIZES))])
    elif kind == 1:
        place, put = at, there[rng.integers(len(there))]
    elif kind == 2:
        place, put = at + 4 + 4 * int(rng.integers(24)), struct.pack(
            order, SIZES[rng.integers(len(SIZES))])
    else:
        place, put = at + 4 + int(rng.integers(96)), rng.bytes(int(rng.integers(1, 9)))
    what = ("length", "name", "number", "content")[kind]
    return Mutation(content[:place] + put + content[place + len(put):],
                    f"{name.decode()} {what}")


def element(content: bytes, rng: np.random.Generator) -> Mutation:
    """An element of mkv or webm: its id, its size, or what is in it."""
    there = [name for name in ELEMENTS if name in content]
    name = there[rng.integers(len(there))]
    starts = [at for at in range(len(content)) if content.startswith(name, at)]
    at = starts[rng.integers(min(3, len(starts)))]
    size = (b"\xff", b"\x01" + b"\xff" * 7, b"\x08\xff\xff\xff\xff", b"\x80", b"\x81", b"\x10\xff")
    put = (size[rng.integers(len(size))], rng.bytes(int(rng.integers(1, 9))),
           there[rng.integers(len(there))])
    kind = int(rng.integers(3))
    place = (at + len(name), at + len(name) + int(rng.integers(1, 24)), at)[kind]
    return Mutation(content[:place] + put[kind] + content[place + len(put[kind]):],
                    f"element {('size', 'content', 'id')[kind]}")


def concat_script(content: bytes, rng: np.random.Generator) -> Mutation:
    """No video, but a text that makes a decoder open another file: it must be refused."""
    scripts = (b"ffconcat version 1.0\nfile other.bin\n",
               b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.bin\n#EXT-X-ENDLIST\n",
               b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
               b"m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
               b"YUV4MPEG2 W8 H8 F25:1 Ip A1:1 C420\nFRAME\n" + b"\0" * 96)
    del content
    return Mutation(scripts[rng.integers(len(scripts))], "script for a decoder", forbidden=True)
