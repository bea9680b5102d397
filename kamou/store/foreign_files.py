"""Opening what somebody else put on the disk: regular, inside its folder, never waited for.

A pipe or a device is not opened, because opening one may wait for ever. A link that leaves its
folder is not followed: a folder from elsewhere must not show what else is on this machine.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, cast

from kamou.errors import InvalidDataError
from kamou.escaping import escape_text

READ_CHUNK_BYTES = 1 << 20
SHOWN_NAME_CHARS_MAX = 120  # of a file's name in an error


def show_name(path: Path) -> str:
    """Return the file's name for an error: escaped, one line."""
    return escape_text(path.name, chars_max=SHOWN_NAME_CHARS_MAX)


def why_unfit(path: Path) -> str | None:
    """Return why this entry of a folder may not be read as a file; None if it may.

    Only looks: nothing is opened.
    """
    try:
        kind = path.stat().st_mode
        inside = path.resolve(strict=True).is_relative_to(path.parent.resolve(strict=True))
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
        return f"cannot be read: {_reason(error)}"
    if not inside:
        return "a link that leaves the folder; copy the file into it"
    return None if stat.S_ISREG(kind) else "not a regular file"


@contextlib.contextmanager
def open_regular(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file for reading, unbuffered, without ever waiting for it.

    Raises:
        InvalidDataError: it is missing, unreadable, no regular file, or a link out of its folder.
    """
    if unfit := why_unfit(path):
        raise InvalidDataError(f"{show_name(path)}: {unfit}")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise InvalidDataError(f"{show_name(path)}: cannot be read: {_reason(error)}") from error
    with open(descriptor, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # it was replaced meanwhile
            raise InvalidDataError(f"{show_name(path)}: not a regular file")
        yield file


def read_bounded(path: Path, bytes_max: int) -> bytes:
    """Return a small file's content.

    Raises:
        InvalidDataError: it cannot be read as a regular file, or is larger than ``bytes_max``.
    """
    with open_regular(path) as file:
        try:
            content = _read_up_to(file, bytes_max + 1)
        except OSError as error:
            raise InvalidDataError(
                f"{show_name(path)}: cannot be read: {_reason(error)}"
            ) from error
    if len(content) > bytes_max:
        raise InvalidDataError(f"{show_name(path)}: larger than {bytes_max:,} bytes")
    return content


def file_sha256(path: Path, bytes_max: int) -> str:
    """Return the SHA-256 of a file's content, in hex.

    Raises:
        InvalidDataError: it cannot be read as a regular file, or is larger than ``bytes_max``.
    """
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > bytes_max:
            raise InvalidDataError(
                f"{show_name(path)}: larger than {bytes_max:,} bytes (setting data.unpacked_mb_max)"
            )
        try:
            return hashlib.file_digest(cast("BufferedReader", file), "sha256").hexdigest()
        except OSError as error:
            raise InvalidDataError(
                f"{show_name(path)}: cannot be read: {_reason(error)}"
            ) from error


def list_entries(folder: Path, files_max: int) -> list[Path]:
    """Return a folder's entries by name.

    Raises:
        InvalidDataError: it cannot be read, or has more than ``files_max`` entries.
    """
    found: list[Path] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                found.append(folder / entry.name)
                if len(found) > files_max:
                    raise InvalidDataError(
                        f"{show_name(folder)}: more than {files_max:,} files "
                        "(setting data.files_max); import fewer, or raise the setting"
                    )
    except OSError as error:
        raise InvalidDataError(f"{show_name(folder)}: cannot be read: {_reason(error)}") from error
    return sorted(found)


def _read_up_to(file: BinaryIO, count: int) -> bytes:
    parts: list[bytes] = []
    while count > 0 and (part := file.read(min(count, READ_CHUNK_BYTES))):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
