"""``kamou strategy``: write, list and check strategies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kamou.commands.options import NameOrPath, config_option, json_option, resolve
from kamou.commands.printing import print_json, print_line, print_table
from kamou.commands.strategy_template import STRATEGY, TEST, fill_template
from kamou.core.words import count_words
from kamou.data_directory.folder import write_atomically
from kamou.data_directory.private_files import create_directory, create_file
from kamou.errors import CheckFailedError, ConfigurationError, UnwritableError
from kamou.settings.config import Resolved
from kamou.settings.strategies import list_builtin_strategies
from kamou.settings.strategy_files import find_name_problem, load_file
from kamou.settings.values import expand_home

if TYPE_CHECKING:
    from kamou.core.strategies.base import Strategy
    from kamou.core.strategies.conformance import CheckResult

FOLDER = "strategies"  # of `kamou strategy new` if strategies.path is empty
HASH_CHARS = 12  # of a file's hash in a table


@click.group()
def strategy() -> None:
    """Write, list and check strategies."""


@strategy.command("new")
@click.argument("name", metavar="NAME")
@config_option
def new(name: str, config_path: Path | None) -> None:
    """Write a strategy NAME that trades, and its test.

    The folder is strategies.path, or ./strategies without that setting. An existing file is an
    error.
    """
    if problem := find_name_problem(name, list_builtin_strategies()):
        raise ConfigurationError(f"{name!r} {problem}")
    path = resolve(config_path).settings.strategies.path
    folder = expand_home(path or FOLDER) or Path(FOLDER)
    file, test = folder / f"{name}.py", folder / "tests" / f"test_{name}.py"
    for made, text in ((file, STRATEGY), (test, TEST)):
        _write_new(made, fill_template(text, name))
    print_line(f"wrote {file} and {test}")
    if not path:
        print_line(f'for Kamou to find it, set path = "{FOLDER}" in [strategies] of kamou.toml')
    print_line(f"`kamou strategy check {file}` checks it; docs/strategies.md goes on from there")


def _write_new(path: Path, text: str) -> None:
    try:
        create_directory(path.parent)
        if not create_file(path):
            raise UnwritableError(f"{path} exists; choose another name, or remove the file")
        write_atomically(path, text)
    except OSError as error:
        raise UnwritableError(
            f"{path}: cannot be written: {error.strerror}; name a writable folder in"
            " strategies.path"
        ) from error


@strategy.command("list")
@config_option
@json_option
def list_(config_path: Path | None, as_json: bool) -> None:
    """List all strategies: whether each is enabled, and your own files with hashes."""
    chosen = resolve(config_path, run_files=True).settings.strategies
    rows = [
        {
            "name": name,
            "enabled": name in chosen.enabled,
            "file": str(chosen.files[name].path) if name in chosen.files else None,
            "sha256": chosen.files[name].sha256 if name in chosen.files else None,
        }
        for name in (*list_builtin_strategies(), *chosen.files)
    ]
    if as_json:
        print_json({"strategies": rows})
        return
    cells = (
        (
            row["name"],
            "yes" if row["enabled"] else "no",
            row["file"] or "of Kamou",
            str(row["sha256"] or "")[:HASH_CHARS],
        )
        for row in rows
    )
    print_table("", ("strategy", "enabled", "file", "sha256"), cells)


@strategy.command("check")
@click.argument("which", type=NameOrPath(), metavar="FILE|NAME")
@config_option
@json_option
def check(which: str, config_path: Path | None, as_json: bool) -> None:
    """Check that a strategy keeps the rules for strategies.

    Its scores must depend on the panel alone, be the same again and in every shard, not come before
    the warm-up ends or depend on bars before a gap, and be valid with flat prices and missing data.
    FILE is a path that ends in .py; a NAME is one of `kamou strategy list`. Exit code 6: a check
    failed.
    """
    from kamou.core.strategies.conformance import (
        CONFORMANCE_CHECKS,
        count_scores,
        make_bench,
        run_check,
    )

    name, made = _find_strategy(which, config_path)
    bench = make_bench(name, made)
    results = [run_check(bench, each) for each in CONFORMANCE_CHECKS]
    failed = [each for each in results if each.problems]
    scored, of = (0, 0) if failed else count_scores(bench)
    if as_json:
        document = [{"check": each.check, "problems": list(each.problems)} for each in results]
        print_json({"strategy": name, "checks": document, "scored": scored, "of": of})
    else:
        _print_results(results)
        if not failed:
            print_line(f"{scored:,} of {of:,} scores of a generated market are not abstentions")
    if failed:
        raise CheckFailedError(
            f"{name} fails {count_words(len(failed), 'check')} of {len(results)}; correct the file"
        )


def _print_results(results: list[CheckResult]) -> None:
    for result in results:
        print_line(f"{'failed' if result.problems else 'passed'}: {result.check}")
        for problem in result.problems:
            print_line(f"  {problem}")


def _find_strategy(which: str, config_path: Path | None) -> tuple[str, Strategy]:
    """Return name and strategy; a FILE has its defaults, a NAME the settings' values.

    Raises:
        ConfigurationError: the file does not exist or cannot be used, no strategy has this name,
            or a setting is invalid.
    """
    from kamou.core.strategies import make_strategies

    if which.endswith(".py"):
        path = Path(which)
        if not path.is_file():
            raise ConfigurationError(f"{which}: no such file; name the file of a strategy")
        file = load_file(path, list_builtin_strategies())
        return file.name, make_strategies([file.name], {}, {file.name: file.factory})[file.name]
    resolved: Resolved = resolve(config_path, run_files=True)
    chosen = resolved.settings.strategies
    others = {name: file.factory for name, file in chosen.files.items()}
    return which, make_strategies([which], chosen.parameters, others)[which]
