"""Zips of which no member is lost: the list of members has no checksum of its own."""

import os
import struct
import zipfile
from collections.abc import Iterable

END = struct.Struct("<4s4H2LH")  # the record at the end of a zip
COUNT = 4  # the field of it with the number of members ...
MANY = 2 ** 16 - 1  # ... which is this where there are more


def check_members(archive: zipfile.ZipFile, path: str | os.PathLike,
                  unknown: Iterable[str] = ()) -> None:
    """Raises BadZipFile if the list of members is not as it was written, as far as can be seen.

    A length in it that is damaged makes one entry swallow the next ones.

    Args:
      archive: the zip, open.
      path: its file.
      unknown: names that are not read: each must stand before its member, too.
    """
    with open(path, "rb") as file:
        file.seek(-END.size - len(archive.comment), os.SEEK_END)
        declared = END.unpack(file.read(END.size))[COUNT]
    found = len(archive.infolist())
    if declared not in (found, MANY):
        raise zipfile.BadZipFile(f"it lists {found} members, but says that it has {declared}")
    for name in unknown:
        archive.open(name).close()  # looks at the name before the member
