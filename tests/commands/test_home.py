"""Expansion of ``~`` in every path of the command line and of the settings."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from kamou.cli import kamou_command
from kamou.commands.options import NameOrPath, UserPath
from kamou.data_directory.folder import DataDirectory
from kamou.errors import ConfigurationError
from kamou.site.process_protocol import read_pricing
from tests.commands.made_reports import make_report
from tests.store.market_files import write_valid_files

Cli = Callable[..., tuple[int, str, str]]
Compose = Callable[..., None]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = tmp_path / "home"
    found.mkdir()
    monkeypatch.setenv("HOME", str(found))
    return found


def parameters(command: click.Command) -> Iterator[tuple[str, click.Parameter]]:
    if isinstance(command, click.Group):
        for each in command.commands.values():
            yield from parameters(each)
    for parameter in command.params:
        yield f"{command.name} {parameter.name}", parameter


def test_every_path_option_of_every_verb_has_a_type_that_expands_the_home() -> None:
    paths = {
        name: each.type
        for name, each in parameters(kamou_command)
        if isinstance(each.type, click.Path) or str(each.metavar).startswith(("FILE", "DIR"))
    }
    assert {"run replay", "backtest data", "backup to", "init path", "simulate trace"} <= set(paths)
    expands = UserPath | NameOrPath
    assert not [name for name, kind in paths.items() if not isinstance(kind, expands)]


def test_paths_of_options_and_arguments_expand_the_home(
    cli: Cli, compose: Compose, home: Path
) -> None:
    seen: dict[str, Any] = {}

    def run(resolved: object, **given: Any) -> dict[str, Any]:
        seen.update(given)
        return make_report()

    compose("backtest", run)
    write_valid_files(home / "good")
    assert cli("init", "~/kamou.toml")[0] == 0
    code, _, err = cli(
        "backtest", "--config=~/kamou.toml", "--data=~/good", "--json=~/r.json", "--journal=~/j"
    )
    assert (code, err) == (0, "")
    assert json.loads((home / "r.json").read_text()) == make_report()
    assert (seen["data"], seen["options"].journal) == (str(home / "good"), home / "j")
    assert cli("data", "import", "~/good", "--data-dir", "~/kept")[0] == 0
    assert DataDirectory(home / "kept").market.is_dir()


def test_settings_that_are_paths_expand_the_home(
    cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("kamou.toml").write_text("data_dir = '~/track'\n")
    shown = json.loads(cli("show-config", "--json")[1])["settings"]
    assert shown["data_dir"]["value"] == str(home / "track")
    monkeypatch.setenv("KAMOU__DATA_DIR", "~/other")
    shown = json.loads(cli("show-config", "--json")[1])["settings"]
    assert shown["data_dir"]["value"] == str(home / "other")
    (home / "prices.md").write_text("free")
    assert read_pricing("~/prices.md") == "free"


def test_the_home_of_an_unknown_user_is_an_error_and_creates_no_directory(
    cli: Cli, tmp_path: Path
) -> None:
    code, _, err = cli("flatten", "--data-dir", "~nobody-of-that-name/track")
    assert code == 2
    assert "this machine has no user of that name" in err
    Path("kamou.toml").write_text("data_dir = '~nobody-of-that-name/track'\n")
    code, _, err = cli("check-config")
    assert code == 4
    assert "data_dir expects a path, got '~nobody-of-that-name/track'" in err
    with pytest.raises(ConfigurationError, match=r"web\.pricing_file"):
        read_pricing("~nobody-of-that-name/prices.md")
    assert not list(tmp_path.glob("~*"))
