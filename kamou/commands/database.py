"""``kamou db``: migrate, back up and restore the database."""

from __future__ import annotations

from pathlib import Path

import click

from kamou.commands.options import UserPath, config_option, data_dir_option, json_option, resolve
from kamou.commands.printing import print_error_line, print_json, print_line
from kamou.data_directory.folder import DataDirectory
from kamou.data_directory.lock import DataDirectoryLock
from kamou.errors import NotRunningError


@click.group()
def db() -> None:
    """Migrate, back up or restore the database."""


@db.command()
@config_option
@data_dir_option
@json_option
def migrate(config_path: Path | None, data_dir: Path | None, as_json: bool) -> None:
    """Migrate the database to this version's schema, as `run` does at its start."""
    from kamou.store import database

    directory = _open_directory(config_path, data_dir)
    with DataDirectoryLock(directory.path, announce=print_error_line):  # fails during a run
        applied = database.migrate_journal(directory.database)
    if as_json:
        print_json({"applied": list(applied)})
    else:
        for line in [f"applied {name}" for name in applied] or ["nothing to do"]:
            print_line(line)


@db.command()
@click.argument("to", type=UserPath(dir_okay=False), metavar="FILE")
@config_option
@data_dir_option
@json_option
def backup(to: Path, config_path: Path | None, data_dir: Path | None, as_json: bool) -> None:
    """Write a consistent backup to FILE and FILE.exchange, also during a run.

    FILE has the journal, and FILE.exchange has the exchange's records of the same moment, if the
    data directory has an exchange file. `kamou db restore` needs both. Keep a copy of the salt key
    yourself, in another place.
    """
    from kamou.runs.backup import back_up

    made = back_up(_open_directory(config_path, data_dir), to)
    if as_json:
        beside = None if made.exchange is None else str(made.exchange)
        print_json({"file": str(to), "exchange": beside, "bytes": made.size})
        return
    names = f"{to}" if made.exchange is None else f"{to} and {made.exchange}"
    print_line(f"wrote {names}: {made.size:,} bytes")
    if made.exchange is None:
        print_line(
            "the data directory has no exchange file, so a run cannot use this backup", err=True
        )


@db.command()
@click.argument("copy", type=UserPath(dir_okay=False), metavar="FILE")
@config_option
@data_dir_option
@json_option
def restore(copy: Path, config_path: Path | None, data_dir: Path | None, as_json: bool) -> None:
    """Restore FILE and FILE.exchange into a data directory without a database.

    If the data directory has a database or an exchange file, or if a file of the backup is missing,
    damaged or from another backup, nothing is restored. Copy the salt key into the data directory
    before you start `kamou run`.
    """
    from kamou.runs import backup

    directory = DataDirectory(resolve(config_path, data_dir=data_dir).settings.data_dir)
    backup.check_backup_exists(copy)  # before the data directory is created
    with DataDirectoryLock(directory.path, announce=print_error_line):
        backup.restore_backup(copy, directory)
    if as_json:
        print_json({"database": str(directory.database), "exchange": str(directory.exchange)})
    else:
        print_line(f"restored {directory.database} and {directory.exchange}")


def _open_directory(config_path: Path | None, data_dir: Path | None) -> DataDirectory:
    directory = DataDirectory(resolve(config_path, data_dir=data_dir).settings.data_dir)
    if not directory.database.exists():
        raise NotRunningError(
            f"the data directory {directory.path} has no database yet; `kamou run` creates one"
        )
    return directory
