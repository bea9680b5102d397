"""``kamou db``: migrate, back up and restore the database."""

from __future__ import annotations

from pathlib import Path

import click

from kamou.commands.options import UserPath, config_option, data_dir_option, json_option, resolve
from kamou.commands.printing import print_json, say, say_error
from kamou.data_directory.folder import DataDirectory
from kamou.data_directory.lock import DataFolderLock
from kamou.errors import NotRunningError


@click.group()
def db() -> None:
    """Migrate, back up or restore the database."""


@db.command()
@config_option
@data_dir_option
@json_option
def migrate(config_path: Path | None, data_dir: Path | None, as_json: bool) -> None:
    """Migrate the database to this version's schema; `run` does so when it starts."""
    from kamou.store import database

    folder = _existing(config_path, data_dir)
    with DataFolderLock(folder.path, announce=say_error):  # no run may hold it
        applied = database.migrate_journal(folder.database)
    if as_json:
        print_json({"applied": list(applied)})
    else:
        for line in [f"applied {name}" for name in applied] or ["nothing to do"]:
            say(line)


@db.command()
@click.argument("to", type=UserPath(dir_okay=False), metavar="FILE")
@config_option
@data_dir_option
@json_option
def backup(to: Path, config_path: Path | None, data_dir: Path | None, as_json: bool) -> None:
    """Write a consistent copy to FILE and FILE.exchange, also during a run.

    FILE has the journal, FILE.exchange the exchange's records of the same moment; `kamou db
    restore` needs both. Back up the salt key yourself, in another place.
    """
    from kamou.runs.backup import back_up

    made = back_up(_existing(config_path, data_dir), to)
    if as_json:
        beside = None if made.exchange is None else str(made.exchange)
        print_json({"file": str(to), "exchange": beside, "bytes": made.size})
        return
    names = f"{to}" if made.exchange is None else f"{to} and {made.exchange}"
    say(f"wrote {names}: {made.size:,} bytes")
    if made.exchange is None:
        say("the data directory has no exchange file, so a run cannot use this backup", err=True)


@db.command()
@click.argument("copy", type=UserPath(dir_okay=False), metavar="FILE")
@config_option
@data_dir_option
@json_option
def restore(copy: Path, config_path: Path | None, data_dir: Path | None, as_json: bool) -> None:
    """Restore FILE and FILE.exchange into a data directory that has neither.

    If one is missing, damaged or from another backup, nothing is restored. Copy the salt key into
    the data directory before you start `kamou run`.
    """
    from kamou.runs import backup

    folder = DataDirectory(resolve(config_path, data_dir=data_dir).settings.data_dir)
    backup.refuse_missing(copy)  # before a data directory is created for it
    with DataFolderLock(folder.path, announce=say_error):
        backup.restore_backup(copy, folder)
    if as_json:
        print_json({"database": str(folder.database), "exchange": str(folder.exchange)})
    else:
        say(f"restored {folder.database} and {folder.exchange}")


def _existing(config_path: Path | None, data_dir: Path | None) -> DataDirectory:
    folder = DataDirectory(resolve(config_path, data_dir=data_dir).settings.data_dir)
    if not folder.database.exists():
        raise NotRunningError(
            f"the data directory {folder.path} has no database yet; `kamou run` creates it"
        )
    return folder
