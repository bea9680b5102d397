"""``kamou init``, ``check-config`` and ``show-config``."""

from __future__ import annotations

from pathlib import Path

import click

from kamou.commands.options import CONFIG_FILE, UserPath, config_option, json_option, resolve
from kamou.commands.printing import print_json, print_line, print_table
from kamou.data_directory.folder import write_atomically
from kamou.data_directory.private_files import create_file
from kamou.errors import ConfigurationError
from kamou.settings.commented_toml import render_commented_toml
from kamou.settings.config import Resolved, flatten_settings, to_json_value
from kamou.settings.table import settings_table


@click.command()
@click.argument("path", type=UserPath(dir_okay=False), default=CONFIG_FILE)
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def init(path: Path, force: bool) -> None:
    """Write a commented kamou.toml (or PATH) with every setting and its default.

    Without --force, an existing file is an error.
    """
    try:
        # Created before writing, so that without --force no file of another process is replaced.
        if not (create_file(path) or force):
            raise ConfigurationError(f"{path} exists; --force overwrites it, or name another file")
        write_atomically(path, render_commented_toml())
    except OSError as error:
        raise ConfigurationError(
            f"{path}: cannot be written: {error.strerror}; name a file in a writable "
            "directory that exists"
        ) from error
    print_line(f"wrote {path}; `kamou check-config --config {path}` validates it")


@click.command("check-config")
@config_option
@json_option
def check_config(config_path: Path | None, as_json: bool) -> None:
    """Validate the settings and your own strategies; exit code 4 if one is invalid."""
    resolved = resolve(config_path, run_files=True)
    _check_strategies(resolved)
    changed = [key for key, origin in resolved.origins.items() if origin != "default"]
    if as_json:
        print_json({"valid": True, "digest": resolved.digest, "changed": changed})
    else:
        differ = (
            f"{len(changed)} of {len(resolved.origins)} settings are set, the rest have defaults"
        )
        print_line(f"the configuration is valid; {differ}; digest {resolved.digest}")


@click.command("show-config")
@config_option
@json_option
def show_config(config_path: Path | None, as_json: bool) -> None:
    """Print the settings in force, each with the origin of its value."""
    resolved = resolve(config_path, run_files=True)
    values = {
        key: to_json_value(value) for key, value in flatten_settings(resolved.settings).items()
    }
    table = settings_table(resolved.settings.strategies.parameter_types)
    if as_json:
        print_json(
            {
                "digest": resolved.digest,
                "settings": {
                    key: {
                        "value": value,
                        "unit": table[key].unit,
                        "origin": resolved.origins[key],
                    }
                    for key, value in values.items()
                },
            }
        )
        return
    rows = (
        (key, _format_value(value), table[key].unit, resolved.origins[key])
        for key, value in values.items()
    )
    print_table(f"digest {resolved.digest}", ("setting", "value", "unit", "from"), rows)


def _check_strategies(resolved: Resolved) -> None:
    """Check that every enabled strategy exists, which loading does not check.

    Raises:
        ConfigurationError: an enabled strategy has no file, or a strategy of the package cannot be
            loaded.
    """
    from kamou.core.strategies import discover_strategies

    known = [*discover_strategies(), *resolved.settings.strategies.files]
    for name in resolved.settings.strategies.enabled:
        if name not in known:
            raise ConfigurationError(
                f"{resolved.origins['strategies.enabled']}: strategies.enabled names {name!r}, "
                f"which is unknown; known strategies: {', '.join(known)}"
            )


def _format_value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
