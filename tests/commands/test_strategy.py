"""`kamou strategy` writes, lists and checks strategies; only some verbs run their files."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kamou.site.process_start import child_environment
from kamou.web import standalone
from tests.commands.conftest import Cli, Compose

ROOT = Path(__file__).parent.parent.parent
VARIABLES = {"KAMOU__STRATEGIES__PATH": "own", "PATH": "/bin"}
CONFIG = '[strategies]\npath = "own"\nenabled = ["breakout"]\n'


@pytest.fixture
def own(cli: Cli) -> Path:
    """Write a configuration and the strategy `breakout`; return the folder."""
    Path("kamou.toml").write_text(CONFIG)
    assert cli("strategy", "new", "breakout")[0] == 0
    return Path("own")


def test_a_new_strategy_and_its_test_are_private_files_that_pass_the_checks(
    cli: Cli, own: Path
) -> None:
    for path in (own, own / "tests"):
        assert path.stat().st_mode & 0o777 == 0o700
    for path in (own / "breakout.py", own / "tests" / "test_breakout.py"):
        assert path.stat().st_mode & 0o777 == 0o600
    ast.parse((own / "tests" / "test_breakout.py").read_text())
    for which in ("breakout", "own/breakout.py"):
        code, out, err = cli("strategy", "check", which)
        assert (code, err) == (0, "")
        assert "failed" not in out
        assert out.count("passed: ") == 8


def test_a_new_strategy_never_replaces_a_file(cli: Cli, own: Path) -> None:
    (own / "breakout.py").write_text("mine")
    code, _, err = cli("strategy", "new", "breakout")
    assert (code, (own / "breakout.py").read_text()) == (1, "mine")
    assert "own/breakout.py exists; choose another name" in err
    (own / "breakout.py").unlink()
    assert cli("strategy", "new", "breakout")[0] == 1  # its test exists


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mean_reversion", "is the name of a strategy of Kamou"),
        ("../x", "is no name of a strategy"),
    ],
)
def test_a_new_strategy_needs_a_free_and_simple_name(cli: Cli, name: str, words: str) -> None:
    code, _, err = cli("strategy", "new", name)
    assert (code, words in err) == (4, True)
    assert not list(Path().iterdir())


def test_without_a_folder_in_the_settings_a_new_strategy_says_what_to_set(cli: Cli) -> None:
    code, out, _ = cli("strategy", "new", "two_parts")
    assert code == 0
    assert 'set path = "strategies" in [strategies] of kamou.toml' in out
    assert "class TwoParts:" in Path("strategies/two_parts.py").read_text()


def test_the_list_has_every_strategy_with_its_file_and_hash(cli: Cli, own: Path) -> None:
    rows = {
        row["name"]: row for row in json.loads(cli("strategy", "list", "--json")[1])["strategies"]
    }
    assert list(rows) == [
        "funding_fade",
        "macro",
        "mean_reversion",
        "oi_momentum",
        "order_flow",
        "ratio_fade",
        "breakout",
    ]
    assert rows["mean_reversion"]["file"] is None
    assert rows["breakout"]["file"] == "own/breakout.py"
    assert len(rows["breakout"]["sha256"]) == 64
    assert [row["enabled"] for row in rows.values()] == [False] * 6 + [True]
    assert "of Kamou" in cli("strategy", "list")[1]


def test_a_check_that_fails_has_exit_code_6_and_the_line_of_the_file(cli: Cli, own: Path) -> None:
    path = own / "breakout.py"
    text = path.read_text().replace("window + 1  #", "window  #")
    path.write_text(text)
    line = 1 + text[: text.index('panel.view("high"')].count("\n")
    code, out, err = cli("strategy", "check", "breakout")
    assert code == 6
    assert "failed: no score in an empty panel" in out
    assert "reads 49 bars back, and its lookback_bars declares 48" in out
    assert f"own/breakout.py:{line}" in out
    assert "breakout fails 8 checks of 8" in err
    document = json.loads(cli("strategy", "check", "breakout", "--json")[1])
    assert all(each["problems"] for each in document["checks"])


def test_an_unknown_strategy_and_a_missing_file_are_errors(cli: Cli, own: Path) -> None:
    code, _, err = cli("strategy", "check", "astrology")
    names = "funding_fade, macro, mean_reversion, oi_momentum, order_flow, ratio_fade, breakout"
    known = f"known strategies: {names}"
    assert (code, known in err) == (4, True)
    code, _, err = cli("strategy", "check", "nowhere.py")
    assert (code, "nowhere.py: no such file" in err) == (4, True)


def test_check_config_names_a_broken_file_and_accepts_an_enabled_one(cli: Cli, own: Path) -> None:
    assert cli("check-config")[0] == 0
    assert "strategies.breakout.window" in cli("show-config")[1]
    (own / "breakout.py").write_text("x = 1\n1 / 0\n")
    code, _, err = cli("check-config")
    assert (code, "own/breakout.py:2: cannot be imported" in err) == (4, True)


def explosive(own: Path) -> Path:
    """Make the strategy of the folder create a file when it runs; return that file's path."""
    mark = own.absolute().parent / "it-ran"
    (own / "breakout.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
    return mark


@pytest.mark.parametrize(
    "verb",
    [
        ("status",),
        ("report",),
        ("why", "BTCUSDT"),
        ("halt",),
        ("resume",),
        ("flatten",),
        ("data", "list"),
        ("db", "migrate"),
        ("init", "other.toml"),
    ],
)
def test_a_verb_that_needs_no_strategy_runs_no_file(
    cli: Cli, own: Path, verb: tuple[str, ...]
) -> None:
    mark = explosive(own)
    cli(*verb)
    assert not mark.exists()


def test_the_public_site_runs_no_file_of_a_strategy(
    cli: Cli, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark, served = explosive(own), []
    monkeypatch.setattr(standalone, "serve_alone", lambda *given, **_: served.append(given))
    assert cli("site")[0] == 0
    assert len(served) == 1
    assert not mark.exists()
    # The site's process in a run gets no settings, so no paths of strategies either.
    assert not [name for name in child_environment(VARIABLES) if name.startswith("KAMOU")]


def test_a_backtest_runs_the_files_of_strategies(cli: Cli, own: Path, compose: Compose) -> None:
    mark = explosive(own)
    compose("backtest", lambda *_, **__: {"violations": 0})
    code, _, err = cli("backtest", "--data", "um")
    assert (code, "breakout.py: has no callable `strategy`" in err) == (4, True)
    assert mark.exists()


def callers(wanted: Callable[[ast.Call], bool]) -> set[str]:
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "kamou").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and wanted(node)
    }


def test_only_the_listed_modules_run_files_of_strategies() -> None:
    def asks(call: ast.Call) -> bool:
        return any(
            word.arg == "run_files" and isinstance(word.value, ast.Constant) and word.value.value
            for word in call.keywords
        )

    def loads(call: ast.Call) -> bool:
        return ast.unparse(call.func).rpartition(".")[2] in ("load_folder", "load_file")

    verbs = {
        f"kamou/commands/{name}.py" for name in ("backtest", "configuration", "run", "strategy")
    }
    assert callers(asks) == verbs
    own_files = {"kamou/settings/config.py", "kamou/settings/strategy_files.py"}
    assert callers(loads) == own_files | {"kamou/commands/strategy.py"}


def test_a_backtest_that_fails_prints_the_traceback_once_and_exits_with_1(
    cli: Cli, compose: Compose
) -> None:
    from kamou.runs.strategy_failures import StrategyFailedError

    def fail(*_: Any, **__: Any) -> None:
        raise StrategyFailedError(
            "the strategy x failed", "| Traceback", "| ValueError", "correct x"
        )

    compose("backtest", fail)
    code, out, err = cli("backtest", "--data", "um")
    assert (code, out) == (1, "")
    lines = ["error: the strategy x failed", "| Traceback", "| ValueError", "correct x"]
    assert err.splitlines() == lines
    assert "error" in json.loads(cli("backtest", "--data", "um", "--json", "-")[1])
