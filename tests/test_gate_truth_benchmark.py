"""The gate's truth table: a short real run, and a record in which strategies were promoted."""

from __future__ import annotations

import json
import math
import sqlite3
import sys
from collections import defaultdict
from contextlib import closing
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pytest

from kamou.core.day import DAY_MS
from kamou.core.kinds import GateState
from kamou.core.strategies import list_names
from kamou.venue.market.edges import planted_edges
from tests.web.shadow_record import write_shadow_record

FOLDER = Path(__file__).parents[1] / "benchmarks"
SHARES = (0.02, 0.05, 0.08, 0.12, 0.16, 0.20, 0.25, 0.30, 0.36, 0.42)
M0 = 0.05


@pytest.fixture(scope="module")
def truth() -> ModuleType:
    sys.path.insert(0, str(FOLDER))
    try:
        return import_module("gate_truth")
    finally:
        sys.path.remove(str(FOLDER))


def judge_by_definition(path: Path, strategy: str, from_ms: int) -> tuple[int, list[float], float]:
    """Return shadow trades, e-values after each block, and the mean R of blocks, from the rows.

    ``from_ms`` is the start of the newest attempt.
    """
    with closing(sqlite3.connect(path)) as reader:
        rows = reader.execute(
            "SELECT opened_at_ms, closed_at_ms, r FROM shadow_trade WHERE strategy = ?", (strategy,)
        ).fetchall()
        (now_ms,) = reader.execute("SELECT max(at_ms) FROM event").fetchone()
    first_open = min((opened for opened, ended, _ in rows if ended is None), default=now_ms)
    until_day = min(now_ms, first_open) // DAY_MS
    days: dict[int, list[Fraction]] = defaultdict(list)
    for opened, _, r in rows:
        if from_ms <= opened and opened // DAY_MS < until_day:
            days[opened // DAY_MS].append(Fraction(r))
    means = [float(sum(days[day]) / len(days[day])) for day in sorted(days)]
    e_values = [
        math.fsum(math.prod(1 + share * (mean - M0) for mean in means[:n]) for share in SHARES)
        / len(SHARES)
        for n in range(len(means) + 1)
    ]
    return len(rows), e_values, sum(means) / len(means) if means else math.nan


def check_row(row: Any, path: Path, from_ms: int = 0) -> None:
    trades, e_values, mean = judge_by_definition(path, row.strategy, from_ms)
    assert (row.shadow_trades, row.blocks) == (trades, len(e_values) - 1)
    assert row.e_value == pytest.approx(e_values[-1])
    assert row.highest_e_value == pytest.approx(max(e_values[1:], default=1.0))
    assert math.isnan(mean) if row.block_r is None else row.block_r == pytest.approx(mean)


def test_a_run_of_a_seed_gives_the_table_that_its_journal_holds_and_ends_with_the_history(
    truth: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--seeds", "1", "--days", "3", "--symbols", "8", "--keep", str(tmp_path)]
    code = truth.main(asked)
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted(row["strategy"] for row in rows) == list(list_names())
    path = tmp_path / "seed-1-8-3" / "kamou.sqlite3"
    with closing(sqlite3.connect(path)) as reader:
        (last_ms,) = reader.execute("SELECT max(at_ms) FROM event").fetchone()
        ranked = dict(
            reader.execute(
                "SELECT t.value ->> 'strategy', count(*) FROM event,"
                " json_each(CAST(body AS TEXT), '$.top') t"
                " WHERE kind = 'cycle_ranked' GROUP BY 1"
            ).fetchall()
        )
    assert last_ms == truth.GENESIS_MS + 3 * DAY_MS
    for row in rows:
        assert row["candidates"] == ranked.get(row["strategy"], 0)
        assert row["planted"] == (row["strategy"] in planted_edges(1))
        check_row(truth.Row(**row | {"state": GateState(row["state"])}), path)
    assert sum(row["shadow_trades"] for row in rows) > 10
    assert code == 1  # three days promote no strategy, and one is planted
    assert truth.main([*asked, "--markdown"]) == 1  # reads the kept run
    table = capsys.readouterr().out.splitlines()
    assert len(table) == 2 + len(rows)
    assert all(line.count("|") == table[0].count("|") for line in table)


def test_the_row_of_a_promoted_strategy_has_its_highest_state_with_its_day(
    truth: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kamou.sqlite3"
    write_shadow_record(path)
    with closing(sqlite3.connect(path)) as reader:
        (began_ms,) = reader.execute("SELECT min(at_ms) FROM event").fetchone()
        live_ms, from_ms = reader.execute(
            "SELECT at_ms, from_ms FROM gate_change WHERE strategy = 'funding_fade'"
            " AND to_state = 'LIVE'"
        ).fetchone()
        monkeypatch.setattr(truth, "GENESIS_MS", began_ms)
        live, null, ruined = (
            truth.judge(reader, 1, name, name == "funding_fade", 5)
            for name in ("funding_fade", "mean_reversion", "ratio_fade")
        )
    assert (live.highest_state, live.state) == (GateState.LIVE, GateState.LIVE)
    assert live.reached_on_day == (live_ms - began_ms) // DAY_MS + 1
    check_row(live, path, from_ms)
    check_row(null, path)
    assert (null.highest_state, null.reached_on_day) == (GateState.SHADOW, None)
    assert (ruined.highest_state, ruined.state) == (GateState.SHADOW, GateState.HALTED)
    assert (ruined.e_value, ruined.failure) == (0.0, None)
    assert live.failure is None
    assert attrs.evolve(live, planted=False).failure == "has no edge and became LIVE"
    canary = attrs.evolve(live, highest_state=GateState.CANARY)
    assert canary.failure is None
    assert attrs.evolve(canary, planted=False).failure == "has no edge and became CANARY"
    assert null.failure is None
    missed = attrs.evolve(null, planted=True).failure
    assert missed == "has a planted edge and never became a canary"
    assert attrs.evolve(null, candidates=0).failure == "has no candidate"
