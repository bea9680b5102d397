"""`kamou refiner value`: the figures of a file with verdicts, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    header = "strategy,opened_at_ms,closed_at_ms,symbol,r,pnl_usd,verdict,score,p_win_pct,cost_usd"
    rows = [("2", "approve", 0.9, "70"), ("-1", "refuse", 0.8, ""), ("-1", "refuse", 0.1, "20")]
    lines = [
        f"one,{1735689600000 + at},1735693200000,S{at},{r},{r},{verdict},{score},{p},0.5"
        for at, (r, verdict, score, p) in enumerate(rows)
    ]
    path = tmp_path / "verdicts.csv"
    path.write_text("\n".join([header, *lines]))
    return path


def test_value_prints_arms_uplift_placebo_brier_score_and_cost(cli: Cli, file: Path) -> None:
    code, out, _ = cli("refiner", "value", file)
    assert code == 0
    lines = [" ".join(line.replace("│", " ").split()) for line in out.splitlines()]
    assert "3 closed shadow trades with a verdict, opened on 1 days" in lines
    assert "approve 1 +2.0000 none" in lines
    assert "refuse 2 -1.0000 +0.0000" in lines
    assert "uplift: mean R approved - refused +3.0000" in lines
    assert "p-value, verdicts exchanged within days (3 all) 0.3333" in lines
    assert "Brier score (2 stated probabilities) 0.0650" in lines
    assert "cost of the calls 1.5 USD" in lines


def test_value_prints_a_document_with_json(cli: Cli, file: Path) -> None:
    code, out, _ = cli("refiner", "value", file, "--json")
    assert code == 0
    document = json.loads(out)
    assert (document["uplift_r"], document["arrangements"]) == (3.0, 3)
    assert (document["seed"], document["cost_usd"]) == (1, "1.5")


def test_a_file_that_is_missing_is_one_line(cli: Cli, tmp_path: Path) -> None:
    code, _, error = cli("refiner", "value", tmp_path / "none.csv")
    assert code == 1
    assert "none.csv cannot be read" in error
