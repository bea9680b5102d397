"""Sources of settings (TOML file, environment) and the conversion of values."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

from kamou.errors import ConfigurationError
from kamou.settings.setting import Setting
from kamou.settings.toml_text import find_key_line, find_key_lines
from kamou.settings.values import EXPECTED, Text, convert_value

ENVIRONMENT_PREFIX = "KAMOU__"

Given = dict[str, tuple[str, object]]  # dotted key -> (origin, value)


def read_sources(
    path: Path | None, environ: Mapping[str, str], given: Given, keys: Collection[str]
) -> Given:
    """Return the values of file, environment and options, each with its origin.

    An option overrides the environment, and the environment overrides the file.

    Raises:
        ConfigurationError: the file cannot be read, is not UTF-8 or is not TOML.
    """
    raws = read_file(path, keys) if path else {}
    return raws | read_environment(environ) | given


def read_file(path: Path, keys: Collection[str]) -> Given:
    """Return the file's settings, each with path and line as its origin.

    Args:
        path: the TOML file.
        keys: dotted keys of all known settings.

    Raises:
        ConfigurationError: the file cannot be read, is not UTF-8 or is not TOML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"{path}: cannot be read ({error.strerror}); check the path and its permissions, or "
            "write a configuration file with `kamou init`"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"{path}: is not UTF-8 ({error.reason}); save it as UTF-8"
        ) from error
    try:
        document = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: is not TOML ({error}); correct that line") from error
    lines = find_key_lines(text)
    groups = {key.rpartition(".")[0] for key in keys}
    return {
        key: (f"{path}:{find_key_line(lines, key)}", value)
        for key, value in _iterate_leaves(document, "", _with_parents(groups))
    }


def _iterate_leaves(
    table: Mapping[str, object], prefix: str, groups: frozenset[str]
) -> Iterator[tuple[str, object]]:
    for name, value in table.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict) and key in groups:
            yield from _iterate_leaves(value, f"{key}.", groups)
        else:
            yield key, value


def _with_parents(groups: Iterable[str]) -> frozenset[str]:
    """Return the groups and their parents: strategies.oi_momentum adds strategies."""
    parts = [group.split(".") for group in groups]
    return frozenset(".".join(part[:n]) for part in parts for n in range(1, len(part) + 1))


def read_environment(environ: Mapping[str, str]) -> Given:
    """Return the settings in the environment, each with its variable as origin."""
    return {
        name.removeprefix(ENVIRONMENT_PREFIX).replace("__", ".").lower(): (name, Text(value))
        for name, value in sorted(environ.items())
        if name.startswith(ENVIRONMENT_PREFIX)
    }


def suggest_key(key: str, known: Iterable[str]) -> str:
    """Return a hint: the most similar key, or, without one, how to list all keys."""
    keys = list(known)
    close = difflib.get_close_matches(key, keys, n=1, cutoff=0.6)
    if not close:
        last = {each.rpartition(".")[2]: each for each in keys}
        close = [
            last[name] for name in difflib.get_close_matches(key.rpartition(".")[2], last, n=1)
        ]
    if close:
        return f"; did you mean {close[0]}?"
    return "; remove it, or use a name that `kamou show-config` lists without it"


def convert_values(
    raws: Given, kinds: Mapping[str, object], table: Mapping[str, Setting]
) -> dict[str, object]:
    """Return the values by dotted key, in the types of their settings.

    Args:
        raws: origin and value of each setting, as its source gives it.
        kinds: type of each known setting.
        table: row of each known setting.

    Raises:
        ConfigurationError: a line for each unknown or invalid setting.
    """
    values: dict[str, object] = {}
    problems: list[str] = []
    for key, (origin, raw) in raws.items():
        if key not in kinds:
            problems.append(f"{origin}: unknown setting {key}{suggest_key(key, kinds)}")
            continue
        choice = _find_enum(kinds[key])
        kind = kinds[key] if choice is None else str
        value = convert_value(kind, raw)
        if value is None:
            expected = EXPECTED[kind] + (f" ({unit})" if (unit := table[key].unit) else "")
            problems.append(f"{origin}: {key} expects {expected}, got {raw!r}")
        elif problem := table[key].find_problem(value):
            problems.append(f"{origin}: {key} {problem}")
        else:
            values[key] = value if choice is None else choice(str(value))
    if problems:
        raise ConfigurationError(*problems)
    return values


def _find_enum(kind: object) -> type[StrEnum] | None:
    """Return the type of a setting if it is a text enum; None for another type."""
    return kind if isinstance(kind, type) and issubclass(kind, StrEnum) else None
