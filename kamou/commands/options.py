"""What many verbs share: finding the configuration, and their common options."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from kamou.data_directory.private_files import create_temporary
from kamou.errors import UnwritableError
from kamou.settings.config import Resolved, load_settings
from kamou.settings.values import with_home

CONFIG_FILE = Path("kamou.toml")
Verb = TypeVar("Verb", bound=Callable[..., Any])

OPTION_OF = {
    "data_dir": "--data-dir",
    "web.host": "--host",
    "web.port": "--port",
    "web.operator_port": "--operator-port",
    "demo.days": "--days",
    "strategies.enabled": "--strategies",
}


class UserPath(click.Path):
    """A path of the command line; a leading ``~`` is a home, also where no shell replaced it."""

    def __init__(self, **checks: bool) -> None:
        super().__init__(path_type=Path, **checks)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(self.home(value, param, ctx), param, ctx)

    def home(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The path without its ``~``. Refuses that of a user who has no home here."""
        found = with_home(value)
        if found is None:
            self.fail(f"{value}: no user of that name has a home folder here", param, ctx)
        return found


class OutputPath(UserPath):
    """A file that the verb writes at its end: refused before its work when that cannot be done."""

    def __init__(self, *, allow_dash: bool = False) -> None:
        super().__init__(dir_okay=False, allow_dash=allow_dash)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path: Path = super().convert(value, param, ctx)
        if not (self.allow_dash and str(path) == "-"):
            refuse_unwritable(path)
        return path


def refuse_unwritable(path: Path) -> None:
    """Try what ``write_atomically`` does, and leave nothing behind.

    Raises:
        UnwritableError: no file can be made there, or what is there is no file.
    """
    if path.exists() and not path.is_file():
        raise UnwritableError(f"{path}: exists and is not a file; name another file")
    try:
        descriptor, temporary = create_temporary(path)
    except OSError as error:
        raise UnwritableError(
            f"{path}: cannot be written: {error.strerror}; name a file in a folder that is there "
            "and can be written"
        ) from error
    os.close(descriptor)
    temporary.unlink()


def config_option(verb: Verb) -> Verb:
    """``--config FILE``; without it ``kamou.toml`` here, when there is one."""
    return click.option(
        "--config",
        "config_path",
        type=UserPath(dir_okay=False),
        help="Read the settings from FILE instead of ./kamou.toml.",
        metavar="FILE",
    )(verb)


def data_dir_option(verb: Verb) -> Verb:
    return click.option(
        "--data-dir",
        # Whether it may be read is said by the verb, which knows as whom to run it.
        type=UserPath(file_okay=False, readable=False),
        help="Keep everything in DIR (default: ./kamou-data).",
        metavar="DIR",
    )(verb)


def json_option(verb: Verb) -> Verb:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(verb)


def resolve(config_path: Path | None, **given: object) -> Resolved:
    """The settings in force, with the options of the command line on top.

    ``given`` maps a setting (dots as double underscores) to an option's value; None: not given.

    Raises:
        ConfigurationError: the file is missing or a setting is refused.
    """
    if config_path is None and CONFIG_FILE.exists():
        config_path = CONFIG_FILE
    keyed = {name.replace("__", "."): value for name, value in given.items()}
    overrides = {key: (OPTION_OF[key], value) for key, value in keyed.items() if value is not None}
    return load_settings(config_path, os.environ, overrides)
