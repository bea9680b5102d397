"""Settings of the kill switch, which reports invalid ones and uses their defaults."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from kamou.commands.options import CONFIG_FILE, resolve
from kamou.data_directory.folder import Announce
from kamou.errors import ConfigurationError
from kamou.settings.config import Resolved, Settings, collect_leaf_types, load_settings
from kamou.settings.sources import ENVIRONMENT_PREFIX, Given

BAD_LINES_MAX = 100  # lines of one file that are not TOML and are left out, one by one


def resolve_valid_settings(
    config_path: Path | None, warn: Announce, *, data_dir: Path | None
) -> Resolved:
    """Return the settings; invalid ones keep their defaults.

    If file and environment contradict each other, the environment is left out, and so are the
    file's values for settings that the environment has.

    Args:
        config_path: the file; None: ./kamou.toml, if it exists.
        warn: function that takes a line for each invalid setting, which is an error in other verbs.
        data_dir: value of --data-dir, which overrides all sources; None: not given.
    """
    try:
        return resolve(config_path, data_dir=data_dir)
    except ConfigurationError as error:
        for line in error.args:
            warn(f"{line}; closing positions with the valid settings")
    path = config_path or CONFIG_FILE
    given = _from_file(path)
    if data_dir is not None:
        given["data_dir"] = ("--data-dir", data_dir)
    kept: Given = {}
    environ: dict[str, str] = {}
    for key, each in given.items():
        if _is_valid(environ, {**kept, key: each}):
            kept[key] = each
    for name in sorted(os.environ):
        wider = {**environ, name: os.environ[name]}
        if name.startswith(ENVIRONMENT_PREFIX) and _is_valid(wider, {}):
            environ = wider
            if name != f"{ENVIRONMENT_PREFIX}DATA_DIR" or data_dir is None:
                kept.pop(name.removeprefix(ENVIRONMENT_PREFIX).replace("__", ".").lower(), None)
    return load_settings(None, environ if _is_valid(environ, kept) else {}, kept)


def _is_valid(environ: Mapping[str, str], given: Given) -> bool:
    try:
        load_settings(None, environ, given)
    except ConfigurationError:
        return False
    return True


def _from_file(path: Path) -> Given:
    """Return the settings of the file; lines that are not TOML are left out."""
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
