"""`kamou gate vetoes`: its tables, its document, its refusals, and the tables in the docs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from kamou.commands.gate_vetoes import format_rate
from kamou.core.record.veto_rates import CASES, simulate_cell_vetoes, simulate_win_rate_vetoes

Cli = Callable[..., tuple[int, str, str]]
PAGE = Path(__file__).parents[2] / "docs/gate.md"
SMALL = ("gate", "vetoes", "--paths", "100")


def test_vetoes_prints_each_case_and_the_win_rates(cli: Cli) -> None:
    code, out, err = cli(*SMALL)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    for case in CASES:
        assert sum(f"{case.cells} {case.kind}, {case.trades} trades" in line for line in lines) == 1
    assert "false vetoes of a win rate at break-even, 300 trades, b 2.3" in out


def test_vetoes_prints_a_document_with_json_that_the_seed_repeats(cli: Cli) -> None:
    code, out, _ = cli(*SMALL, "--json", "--seed", "5")
    assert code == 0
    document = json.loads(out)
    assert (document["paths"], document["seed"]) == (100, 5)
    first, *_ = document["cells"]
    assert len(document["cells"]) == len(CASES)
    assert first["case"] == {"kind": "hours", "cells": 24, "trades": 300}
    rates = {"naive", "naive_gain_r", "benjamini_hochberg", "shrunken", "either", "found"}
    assert set(first) == rates | {"case"}
    assert all(set(first[name]) == {"mean", "standard_error"} for name in rates)
    assert set(document["win_rate"]) == {
        "trades",
        "reward_to_risk",
        "naive",
        "wilson",
        "wilson_ever",
    }
    assert cli(*SMALL, "--json", "--seed", "5")[1] == out


@pytest.mark.parametrize("options", [("--paths", "99"), ("--seed", "-1"), ("--paths", "1e9")])
def test_a_bad_option_of_vetoes_is_a_usage_error(cli: Cli, options: tuple[str, ...]) -> None:
    code, _, err = cli("gate", "vetoes", *options)
    assert code == 2
    assert options[1] in err


def test_the_tables_in_the_docs_are_those_that_the_command_prints() -> None:
    """The first and the last row stand for all, because they take the least time."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    found = simulate_cell_vetoes(CASES[0], 20_000, 1)
    percent = (found.benjamini_hochberg, found.shrunken, found.either, found.found)
    shown = [format_rate(found.naive, 100), format_rate(found.naive_gain_r)]
    assert ["24 hours, 300 trades", *shown, *(format_rate(each, 100) for each in percent)] in rows
    wins = simulate_win_rate_vetoes(20_000, 1)
    assert [format_rate(each, 100) for each in (wins.naive, wins.wilson, wins.wilson_ever)] in rows
