"""``kamou db``: the database's migrations and backups."""

from __future__ import annotations

from pathlib import Path

import click

from kamou.commands.options import config_option, data_dir_option, json_option, resolve
from kamou.commands.printing import print_json, say, say_error
from kamou.errors import NotRunningError
from kamou.folder import DataFolder
from kamou.lock import DataFolderLock


@click.group()
def db() -> None:
    """Migrate or back up the database."""


@db.command()
@config_option
@data_dir_option
@json_option
def migrate(config_path: Path | None, data_dir: Path | None, as_json: bool) -> None:
    """Bring the database to this version's schema; `run` does it by itself at start."""
    from kamou.store import database

    folder = _existing(config_path, data_dir)
    with DataFolderLock(folder.path, announce=say_error):  # never beneath a running system
        applied = database.migrate(folder.database)
    if as_json:
        print_json({"applied": list(applied)})
    else:
        for line in [f"applied {name}" for name in applied] or ["nothing to do"]:
            say(line)


@db.command()
@click.argument("to", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE")
@config_option
@data_dir_option
@json_option
def backup(to: Path, config_path: Path | None, data_dir: Path | None, as_json: bool) -> None:
    """Write a consistent copy of the database to FILE, while it is in use or not."""
    from kamou.store import database

    size = database.backup(_existing(config_path, data_dir).database, to)
    if as_json:
        print_json({"file": str(to), "bytes": size})
    else:
        say(f"wrote {to}: {size:,} bytes")


def _existing(config_path: Path | None, data_dir: Path | None) -> DataFolder:
    folder = DataFolder(resolve(config_path, data_dir=data_dir).settings.data_dir)
    if not folder.database.exists():
        raise NotRunningError(
            f"there is no database in the data folder {folder.path} yet: `kamou run` makes it"
        )
    return folder
