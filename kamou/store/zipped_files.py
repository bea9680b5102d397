"""The one file inside a zip archive, checked before anything is unpacked.

The end of the archive says how long its directory is, so the directory is bounded before
``zipfile`` reads it. The bytes of the file are counted as they are unpacked.
"""

from __future__ import annotations

import os
import struct
import zipfile
from typing import IO, BinaryIO

from kamou.errors import InvalidDataError
from kamou.escaping import show_text

END_MAGIC = b"PK\x05\x06"
END_BYTES = 22  # of the record at the end, without its comment
END_SEARCHED_BYTES = END_BYTES + 65_535
ENTRIES_MAX = 1_000
DIRECTORY_BYTES_MAX = 1 << 20
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class OtherArchiveError(InvalidDataError):
    """The archive does not have exactly one file, or the file is not CSV or JSON."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.reason = reason


def open_zipped(name: str, file: BinaryIO) -> tuple[str, IO[bytes]]:
    """Open the one file of an archive; return its name and its unpacked bytes.

    Raises:
        OtherArchiveError: the archive does not have exactly one file.
        InvalidDataError: the archive is damaged, its directory is too long, or the file is
            encrypted or packed by another method than deflate.
    """
    _check_end(name, file)
    try:
        archive = zipfile.ZipFile(file)
        members = [
            each
            for each in archive.infolist()
            if not each.is_dir() and not each.filename.startswith("__MACOSX/")
        ]
        if len(members) != 1:
            raise OtherArchiveError(
                name,
                f"the archive has {len(members):,} files, expected one; unpack it and name the "
                "directory",
            )
        (member,) = members
        if member.flag_bits & 1 or member.compress_type not in METHODS:
            raise InvalidDataError(
                f"{name}: {show_text(member.filename)} is encrypted or packed by another method "
                "than deflate; unpack the archive and name the directory"
            )
        return member.filename, archive.open(member)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, UnicodeError) as error:
        raise _damaged_error(name) from error


def _check_end(name: str, file: BinaryIO) -> None:
    """Raise ``InvalidDataError`` if the archive's directory is missing or too long."""
    size = os.fstat(file.fileno()).st_size
    tail = os.pread(file.fileno(), END_SEARCHED_BYTES, max(0, size - END_SEARCHED_BYTES))
    at = tail.rfind(END_MAGIC)
    if at < 0 or len(tail) - at < END_BYTES:
        raise _damaged_error(name)
    entries, length = struct.unpack_from("<HI", tail, at + 10)
    if entries > ENTRIES_MAX or length > DIRECTORY_BYTES_MAX:
        raise InvalidDataError(
            f"{name}: the archive's directory has {entries:,} entries in {length:,} bytes, the "
            f"limits are {ENTRIES_MAX:,} and {DIRECTORY_BYTES_MAX:,}; unpack it and name the "
            "directory"
        )


def _damaged_error(name: str) -> InvalidDataError:
    return InvalidDataError(
        f"{name}: cannot be read: not a whole zip archive; the file may be corrupt or truncated; "
        "download it again"
    )
