"""`kamou gate power`: its table, its document, its refusals, and the table in the docs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from kamou.commands.gate_power import ANY_OF_SIX, format_any_of_six, format_promotion
from kamou.core.record.gate_power import PowerPlan, PromotionRule, simulate_promotions

Cli = Callable[..., tuple[int, str, str]]
PAGE = Path(__file__).parents[2] / "docs/gate.md"
SMALL = ("gate", "power", "--paths", "300", "--trades", "120")


def test_power_prints_a_table_for_each_edge_with_a_row_for_each_rule(cli: Cli) -> None:
    code, out, err = cli(*SMALL, "--per-day", "2", "--per-day", "4")
    assert (code, err) == (0, "")
    assert "300 strategies, seed 1, 120 trades, m0 0.05: promoted in %" in out
    assert out.index("no edge (30.3% wins)") < out.index("edge +0.32 R (40.0% wins)")
    assert all(out.count(rule) == 2 for rule in PromotionRule)
    assert out.count("2 a day") == out.count("4 a day") == 2


def test_power_prints_a_document_with_json_that_the_seed_repeats(cli: Cli) -> None:
    options = ("--json", "--seed", "5", "--edge", "0.32", "--per-day", "3", "--m0", "0")
    code, out, _ = cli(*SMALL, *options)
    assert code == 0
    document = json.loads(out)
    rows = document.pop("promotions")
    assert document == {"paths": 300, "seed": 5, "m0": 0.0, "trades": 120}
    assert [row["rule"] for row in rows] == list(PromotionRule)
    for row in rows:
        assert row["share"] * 300 == pytest.approx(round(row["share"] * 300))
        assert (row["edge_r"], row["trades_per_day"], row["blocks"]) == (0.32, 3, 40)
        assert row["standard_error"] > 0
    assert cli(*SMALL, *options)[1] == out
    assert cli(*SMALL, *options, "--seed", "6")[1] != out


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--paths", "99"), "99"),
        (("--seed", "-1"), "-1"),
        (("--m0", "nan"), "nan"),
        (("--edge", "2.3"), "2.3"),
        (("--edge", "-1"), "-1"),
        (("--edge", "nan"), "nan"),
        (("--per-day", "0"), "0"),
        (("--per-day", "50", "--trades", "49"), "--per-day 50 is above --trades 49"),
        (("--trades", "1001"), "1001"),
    ],
)
def test_a_bad_option_of_power_is_a_usage_error(
    cli: Cli, options: tuple[str, ...], word: str
) -> None:
    code, _, err = cli("gate", "power", *options)
    assert code == 2
    assert word in err


def test_the_table_in_the_docs_is_the_one_that_the_command_prints() -> None:
    """The last column of each table stands for all, because it takes the least time."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    rows = [line.strip("| ").split(" | ")[::3] for line in lines if line.startswith("| ")]
    for edge in (0.0, 0.32):
        for found in simulate_promotions(PowerPlan(), edge, 10):
            last = format_promotion(found)
            assert [found.rule, last] in rows, (edge, last)
            if found.rule is PromotionRule.CANARY:
                assert [ANY_OF_SIX, format_any_of_six(found)] in rows
