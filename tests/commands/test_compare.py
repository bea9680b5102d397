"""`kamou compare`: two reports of backtests side by side."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from kamou.commands.backtest import write_report
from kamou.core.record.backtest_document import BacktestReport
from tests.runs.traded_days import trade_days

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> BacktestReport:
    return trade_days(tmp_path_factory.mktemp("traded") / "journal.sqlite3").report


@pytest.fixture
def files(report: BacktestReport, tmp_path: Path) -> tuple[Path, Path]:
    """Write the report, and one with another setting, a lost trade and a changed one."""
    first, second, *others = report["trade_list"]
    other: BacktestReport = {
        **report,
        "settings": {**report["settings"], "risk.leverage_max": 2},
        "figures": {
            **report["figures"],
            "average_hold": {**report["figures"]["average_hold"], "value": 60_000.0},
        },
        "trade_list": [{**second, "pnl_net": "1.00", "exit_reason": "external"}, *others],
    }
    assert first != second
    paths = tmp_path / "a.json", tmp_path / "b.json"
    for path, each in zip(paths, (report, other), strict=True):
        path.write_text(write_report(each))
    return paths


def test_compare_prints_settings_figures_and_trades_that_differ(
    cli: Cli, files: tuple[Path, Path], report: BacktestReport
) -> None:
    code, out, _ = cli("compare", *files)
    assert code == 0
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "the data and the tested times are equal" in lines
    assert "risk.leverage_max 5 2" in lines
    assert "Return -2.92% -2.92% =" in lines
    assert "Average hold 4 h 46 min 1 min -4 h 45 min" in lines
    many = len(report["trade_list"])
    assert f"trades: {many - 2} equal, 1 ended differently, 1 in A only, 0 in B only" in lines
    (line,) = [each for each in lines if each.endswith(", external")]
    assert "+1.00" in line


def test_compare_prints_a_document_with_json(cli: Cli, files: tuple[Path, Path]) -> None:
    code, out, _ = cli("compare", *files, "--json")
    assert code == 0
    document = json.loads(out)
    assert document["settings"] == [{"name": "risk.leverage_max", "before": 5, "after": 2}]
    assert len(document["only_before"]) == len(document["changed_trades"]) == 1


def test_compare_warns_of_other_tested_times(
    cli: Cli, files: tuple[Path, Path], report: BacktestReport
) -> None:
    moved: BacktestReport = {**report, "tested": {**report["tested"], "from_ms": 0}}
    files[1].write_text(write_report(moved))
    code, out, _ = cli("compare", *files)
    assert code == 0
    assert "! the tested times differ\n" in out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "truncated"),
        ("[]", "Expected `object`, got `array`"),
        ('{"data": {}}', "missing required field"),
        ('{"data": {"name": "a", "symbols": "b"}}', "Expected `array`, got `str`"),
        ("\xff", "invalid character"),
    ],
)
def test_compare_fails_in_one_line_on_a_file_that_is_no_report(
    cli: Cli, files: tuple[Path, Path], text: str, words: str
) -> None:
    files[1].write_text(text)
    code, out, err = cli("compare", *files)
    assert (code, out) == (1, "")
    assert words in err
    assert "kamou backtest --json FILE" in err
    assert len(err.splitlines()) == 1
