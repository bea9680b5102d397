"""`kamou gate evaluate`: the figures of a file, as text and as JSON, and its refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.core.record.test_promotion import canary_record

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Write a record that makes a canary, and one of another strategy that is halted."""
    lines = ["strategy,opened_at_ms,closed_at_ms,symbol,r,pnl_usd"]
    for each in canary_record():
        cells = (each.opened_at_ms, each.closed_at_ms, each.symbol, each.r, each.pnl)
        lines.append(f"one,{','.join(map(str, cells))}")
    lines.append("two,1735689600000,1735689600001,BTCUSDT,-4.5,-90")
    path = tmp_path / "trades.csv"
    path.write_text("\n".join(lines))
    return path


def test_evaluate_prints_each_strategy_with_figures_thresholds_and_reasons(
    cli: Cli, file: Path
) -> None:
    code, out, _ = cli("gate", "evaluate", file)
    assert code == 0
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines.index("one: CANARY") < lines.index("two: HALTED")
    assert "closed trades 50 original rule 30, canary 50" in lines
    assert "halted: a trade in BTCUSDT that opened on 2025-01-01 has -4.5 R, below -4 R" in lines


def test_evaluate_prints_a_document_with_json(cli: Cli, file: Path) -> None:
    code, out, _ = cli("gate", "evaluate", file, "--json", "--attempt", "2", "--m0", "0")
    assert code == 0
    document = json.loads(out)
    one, two = document["strategies"]
    assert (document["m0"], document["e_value_min"]) == (0.0, 40)
    assert set(one) == {
        "strategy",
        "n",
        "blocks",
        "symbols",
        "sharpe_daily_annualised",
        "expectancy_r",
        "expectancy_usd_per_100",
        "e_value",
        "e_value_blocks",
        "original_rule_passes",
        "decision",
        "reasons",
    }
    assert (two["decision"], two["e_value"], two["e_value_blocks"]) == ("HALTED", 0.0, 0.0)
    assert (two["sharpe_daily_annualised"], two["original_rule_passes"]) == (None, False)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2025-01-03", "2025-01-05"),
        ("2025-01-03T00:00:00Z", "2025-01-05T02:00:00+02:00"),
        ("1735862400000", "20250105"),
    ],
)
def test_the_time_of_opening_selects_from_one_instant_until_before_another(
    cli: Cli, file: Path, start: str, end: str
) -> None:
    code, out, _ = cli("gate", "evaluate", file, "--json", "--from", start, "--to", end)
    assert code == 0
    one, two = json.loads(out)["strategies"]
    assert (one["n"], one["blocks"], two["n"]) == (4, 2, 0)


@pytest.mark.parametrize(
    "options",
    [
        ("--m0", "0.16"),
        ("--m0", "nan"),
        ("--equity", "0"),
        ("--equity", "inf"),
        ("--attempt", "0"),
        ("--from", "yesterday"),
        ("--from", "1969-01-01"),
        ("--to", "99999999999999999999"),
        ("--from", "2025-01-02", "--to", "2025-01-02"),
    ],
)
def test_an_invalid_option_of_gate_evaluate_is_a_usage_error(
    cli: Cli, file: Path, options: tuple[str, ...]
) -> None:
    code, _, err = cli("gate", "evaluate", file, *options)
    assert code == 2
    assert options[1] in err or "--from" in err


def test_an_invalid_line_of_a_gate_file_gives_exit_code_1_with_its_number(
    cli: Cli, file: Path
) -> None:
    file.write_text(file.read_text() + "\nthree,1,2,BTCUSDT,1,1")
    code, out, err = cli("gate", "evaluate", file, "--json")
    assert code == 1
    assert "line 53: opened_at_ms is 1, which in ms" in err
    assert json.loads(out)["exit_code"] == 1
