"""Checks of databases for damage, and the error for a damaged one.

SQLite notices a damaged page only when a query needs it. So ``kamou run``, backups, restores,
migrations and some readers check the whole database first, and report the same damage in the same
words. ``PRAGMA quick_check`` of a database of 96 MB takes 0.1 s from memory and 1.1 s from a disk.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from kamou.errors import StoreError

DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
PRIMARY_CODE = 0xFF  # mask of the primary result code in an extended one


def is_damage(error: sqlite3.Error) -> bool:
    """Return True if SQLite reports a damaged file, or a file that is no database."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & PRIMARY_CODE in DAMAGED


def damage_error(path: Path | str, found: object) -> StoreError:
    """Return the error for a damaged database.

    ``found`` is SQLite's error or row, or a text about missing rows; the message has the last line
    of it.
    """
    words = str(found).splitlines()
    return StoreError(
        f"{path} is damaged ({words[-1] if words else 'no more is known'}); check that it is "
        "a Kamou database, or restore an intact backup with `kamou db restore`"
    )


def check_damage(connection: sqlite3.Connection, path: Path | str) -> None:
    """Check every page of a database.

    Raises:
        StoreError: the file is damaged, or is not a database.
        sqlite3.Error: the file cannot be read for another reason.
    """
    try:
        found = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            raise damage_error(path, error) from error
        raise
    if found is None or found[0] != "ok":
        raise damage_error(path, found[0] if found else "")
