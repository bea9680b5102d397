"""Settings of the kill switch, which reports invalid ones and uses their defaults."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from kamou.commands.options import CONFIG_FILE, resolve
from kamou.data_directory.folder import Announce
from kamou.errors import ConfigurationError
from kamou.settings.config import Resolved, Settings, collect_leaf_types, load_settings
from kamou.settings.sources import ENVIRONMENT_PREFIX, Given

V = TypeVar("V")

BAD_LINES_MAX = 100  # lines of one file that are not TOML and are left out, one by one


def resolve_valid_settings(
    config_path: Path | None, warn: Announce, *, data_dir: Path | None
) -> Resolved:
    """Return the settings without the invalid ones.

    A setting of which no source has a valid value keeps its default. If two settings contradict
    each other, the one of the environment is kept rather than that of the file. The data directory
    is read first, so that no other setting can change it.

    Args:
        config_path: the file; None: ./kamou.toml, if it exists.
        warn: function that takes a line for each error of the settings, with which other verbs end.
        data_dir: value of --data-dir, which overrides all sources; None: not given.
    """
    try:
        return resolve(config_path, data_dir=data_dir)
    except ConfigurationError as error:
        for line in error.args:
            warn(f"{line}; closing positions with the valid settings")
    option: Given = {} if data_dir is None else {"data_dir": ("--data-dir", data_dir)}
    environ = _keep_valid(_from_environment(), lambda some: _is_valid(some, option))
    keys = {name.removeprefix(ENVIRONMENT_PREFIX).replace("__", ".").lower() for name in environ}
    file = {
        key: each
        for key, each in _from_file(config_path or CONFIG_FILE).items()
        if key not in keys and key not in option
    }
    kept = _keep_valid(file, lambda some: _is_valid(environ, {**option, **some}))
    return load_settings(None, environ, {**option, **kept})


def _keep_valid(values: Mapping[str, V], is_valid: Callable[[dict[str, V]], bool]) -> dict[str, V]:
    """Return the values that are valid together, the data directory first.

    Values that are valid only with a later one, such as a minimum above the default maximum, are
    tried again after it.
    """
    left = dict(sorted(values.items(), key=lambda each: (not _names_directory(each[0]), each[0])))
    kept: dict[str, V] = {}
    while True:
        found = len(kept)
        for key in tuple(left):
            if is_valid({**kept, key: left[key]}):
                kept[key] = left.pop(key)
        if len(kept) == found:
            return kept


def _names_directory(name: str) -> bool:
    return name.removeprefix(ENVIRONMENT_PREFIX).lower() == "data_dir"


def _from_environment() -> dict[str, str]:
    return {name: text for name, text in os.environ.items() if name.startswith(ENVIRONMENT_PREFIX)}


def _is_valid(environ: Mapping[str, str], given: Given) -> bool:
    try:
        load_settings(None, environ, given)
    except ConfigurationError:
        return False
    return True


def _from_file(path: Path) -> Given:
    """Return the known settings of the file, without lines that are not TOML.

    There are none if the file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    document = _parse_valid_lines(text)
    found: Given = {}
    for key in collect_leaf_types(Settings):
        value: Any = document
        for name in key.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        if value is not None:
            found[key] = (str(path), value)
    return found


def _parse_valid_lines(text: str) -> dict[str, Any]:
    """Return the TOML document without the lines that the parser names in its errors.

    It is empty if there are ``BAD_LINES_MAX`` such lines or more.
    """
    lines = text.splitlines()
    for _ in range(BAD_LINES_MAX):
        try:
            return tomllib.loads("\n".join(lines), parse_float=Decimal)
        except tomllib.TOMLDecodeError as error:
            at = re.search(r"at line (\d+)", str(error))
            number = int(at[1]) if at else len(lines)
            if not lines:
                break
            del lines[min(number, len(lines)) - 1]
    return {}
