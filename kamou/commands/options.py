"""Options and types of paths that verbs share, and the loading of the settings."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from kamou.data_directory.private_files import create_temporary
from kamou.errors import UnwritableError
from kamou.settings.config import Resolved, load_settings
from kamou.settings.values import expand_home

CONFIG_FILE = Path("kamou.toml")
GivenPath = str | os.PathLike[str]
Verb = TypeVar("Verb", bound=Callable[..., object])

# The option of each setting, which errors name as the origin of its value.
OPTION_OF = {
    "data_dir": "--data-dir",
    "web.host": "--host",
    "web.port": "--port",
    "web.operator_port": "--operator-port",
    "demo.days": "--days",
    "strategies.enabled": "--strategies",
}


def expand_path(value: GivenPath, param: click.Parameter | None, ctx: click.Context | None) -> Path:
    """Return the path with its ``~`` expanded.

    Raises:
        click.BadParameter: the user does not exist.
    """
    found = expand_home(os.fspath(value))
    if found is None:
        raise click.BadParameter(
            f"{value}: this machine has no user of that name; write the whole path", ctx, param
        )
    return found


class UserPath(click.Path[Path]):
    """A path of the command line; a ``~`` that the shell did not expand is expanded."""

    def __init__(self, **checks: bool) -> None:
        super().__init__(path_type=Path, **checks)

    def convert(
        self, value: GivenPath, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path:
        return super().convert(expand_path(value, param, ctx), param, ctx)


class OutputPath(UserPath):
    """The path of a file to write; the option fails if the file cannot be written."""

    def __init__(self, *, allow_dash: bool = False) -> None:
        super().__init__(dir_okay=False, allow_dash=allow_dash)

    def convert(
        self, value: GivenPath, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path:
        path = super().convert(value, param, ctx)
        if not (self.allow_dash and str(path) == "-"):
            check_writable(path)
        return path


def check_writable(path: Path) -> None:
    """Check that ``write_atomically`` can write the file; leave no file behind.

    Raises:
        UnwritableError: the file cannot be created, or the path is not a file.
    """
    if path.exists() and not path.is_file():
        raise UnwritableError(f"{path}: exists and is not a file; name another file")
    try:
        descriptor, temporary = create_temporary(path)
    except OSError as error:
        raise UnwritableError(
            f"{path}: cannot be written: {error.strerror}; name a file in a writable "
            "directory that exists"
        ) from error
    os.close(descriptor)
    temporary.unlink()


def config_option(verb: Verb) -> Verb:
    """Add ``--config FILE``; the default is ``./kamou.toml``, if it exists."""
    return click.option(
        "--config",
        "config_path",
        type=UserPath(dir_okay=False),
        help="Read the settings from FILE instead of ./kamou.toml.",
        metavar="FILE",
    )(verb)


def data_dir_option(verb: Verb) -> Verb:
    """Add ``--data-dir DIR``."""
    return click.option(
        "--data-dir",
        # The verb checks that it is readable, because its message names the right user.
        type=UserPath(file_okay=False, readable=False),
        help="The data directory (default: ./kamou-data).",
        metavar="DIR",
    )(verb)


def database_option(verb: Verb) -> Verb:
    """Add ``--database FILE``; ``check_one_source`` excludes ``--data-dir``."""
    return click.option(
        "--database",
        type=UserPath(dir_okay=False),
        metavar="FILE",
        help="Read this database instead, such as a backup or a backtest's journal.",
    )(verb)


def check_one_source(database: Path | None, data_dir: Path | None) -> None:
    """Raise ``click.UsageError`` if both ``--database`` and ``--data-dir`` are given."""
    if database is not None and data_dir is not None:
        raise click.UsageError("--database and --data-dir exclude each other; give one of them")


def json_option(verb: Verb) -> Verb:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(verb)


def resolve(config_path: Path | None, *, run_files: bool = False, **given: object) -> Resolved:
    """Return the settings; options override the environment and the file.

    ``given`` maps a setting, with ``__`` for each dot, to an option's value; None: not given. With
    ``run_files``, the operator's own strategies are loaded too (``load_settings``).

    Raises:
        ConfigurationError: the file cannot be read or is not TOML in UTF-8; settings are unknown,
            invalid or contradictory; or, with ``run_files``, a strategy file cannot be used.
    """
    if config_path is None and CONFIG_FILE.exists():
        config_path = CONFIG_FILE
    keyed = {name.replace("__", "."): value for name, value in given.items()}
    overrides = {key: (OPTION_OF[key], value) for key, value in keyed.items() if value is not None}
    return load_settings(config_path, os.environ, overrides, run_files=run_files)


class NameOrPath(click.Path[str]):
    """A name, or a path whose leading ``~`` is expanded, as text."""

    def __init__(self) -> None:
        super().__init__(path_type=str)

    def convert(
        self, value: GivenPath, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        text = os.fspath(value)
        return str(expand_path(text, param, ctx)) if text.startswith("~") else text
