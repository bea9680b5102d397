"""Opening, reading, hashing and listing of untrusted files; file names for errors.

``SourceFile`` is a file of an import, with the name that errors show.

Only regular files inside their directory are opened. A pipe or a device is not opened, because that
could block for ever. A link to a place outside its directory is not followed: an imported directory
must not give access to other files of the machine.
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

import attrs

from kamou.errors import InvalidDataError
from kamou.escaping import escape_text

READ_CHUNK_BYTES = 1 << 20
SHOWN_NAME_CHARS_MAX = 120  # of a file's name in an error


@attrs.frozen(kw_only=True)
class SourceFile:
    """A file to import."""

    path: Path
    shown: str  # its name below the given directory, for errors: escaped, one line
    folders: tuple[str, ...] = ()  # from the given directory's own name down to the file's
    named: bool = False  # by the caller itself, not found below a directory


def source_of(path: Path) -> SourceFile:
    """Return the ``SourceFile`` of a file that is directly in its dataset's directory."""
    return SourceFile(path=path, shown=show_name(path), folders=(path.parent.name,))


def show_name(path: Path) -> str:
    """Return the name of a file for an error: escaped, one line."""
    return escape_text(path.name, chars_max=SHOWN_NAME_CHARS_MAX)


def why_unfit(path: Path) -> str | None:
    """Return the reason why a path may not be read; None if it may.

    The file is not opened.
    """
    try:
        kind = path.stat().st_mode
        inside = path.resolve(strict=True).is_relative_to(path.parent.resolve(strict=True))
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
        return f"cannot be read: {_reason(error)}; check the file and its permissions"
    if not inside:
        return "a link to a place outside of the directory; copy the file into it"
    return None if stat.S_ISREG(kind) else "not a regular file; remove it"


@contextlib.contextmanager
def open_file(file: SourceFile) -> Iterator[BinaryIO]:
    """Open a file of an import as ``open_regular`` does; errors have its shown name."""
    with open_regular(file.path, file.shown) as opened:
        yield opened


@contextlib.contextmanager
def open_regular(path: Path, shown: str | None = None) -> Iterator[BinaryIO]:
    """Open a regular file for reading, unbuffered and without blocking.

    ``shown`` is the file's name for errors; None: that of ``path``.

    Raises:
        InvalidDataError: the file is missing, unreadable, not a regular file, or a link to a place
            outside its directory.
    """
    name = show_name(path) if shown is None else shown
    if unfit := why_unfit(path):
        raise InvalidDataError(f"{name}: {unfit}")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise InvalidDataError(
            f"{name}: cannot be read: {_reason(error)}; check its permissions"
        ) from error
    with open(descriptor, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # it was replaced meanwhile
            raise InvalidDataError(f"{name}: not a regular file; remove it")
        yield file


def read_bounded(path: Path, bytes_max: int) -> bytes:
    """Return the content of a small file.

    Raises:
        InvalidDataError: the file is not a readable regular file, or larger than ``bytes_max``.
    """
    with open_regular(path) as file:
        try:
            content = _read_up_to(file, bytes_max + 1)
        except OSError as error:
            raise InvalidDataError(
                f"{show_name(path)}: cannot be read: {_reason(error)}; copy the file again"
            ) from error
    if len(content) > bytes_max:
        raise InvalidDataError(f"{show_name(path)}: larger than {bytes_max:,} bytes; remove it")
    return content


def file_sha256(path: Path, bytes_max: int) -> str:
    """Return the SHA-256 of the content of a file, in hex.

    Raises:
        InvalidDataError: the file is not a readable regular file, or larger than ``bytes_max``.
    """
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > bytes_max:
            raise InvalidDataError(
                f"{show_name(path)}: larger than {bytes_max:,} bytes (setting "
                "data.unpacked_mb_max); raise the setting if you trust the file"
            )
        try:
            return hashlib.file_digest(cast("BufferedReader", file), "sha256").hexdigest()
        except OSError as error:
            raise InvalidDataError(
                f"{show_name(path)}: cannot be read: {_reason(error)}; copy the file again"
            ) from error


def list_entries(directory: Path, files_max: int) -> list[Path]:
    """Return the files and directories in a directory, sorted by name.

    Raises:
        InvalidDataError: the directory cannot be read or has more than ``files_max`` names.
    """
    found: list[Path] = []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                found.append(directory / entry.name)
                if len(found) > files_max:
                    raise InvalidDataError(
                        f"{show_name(directory)}: more than {files_max:,} files and directories "
                        "(setting data.files_max); move some elsewhere, or raise the setting"
                    )
    except OSError as error:
        raise InvalidDataError(
            f"{show_name(directory)}: cannot be read: {_reason(error)}; check its permissions"
        ) from error
    return sorted(found)


def _read_up_to(file: BinaryIO, count: int) -> bytes:
    parts: list[bytes] = []
    while count > 0 and (part := file.read(min(count, READ_CHUNK_BYTES))):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
