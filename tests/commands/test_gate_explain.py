"""`kamou gate explain`: the gate's arithmetic from a journal, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from kamou.core.book.events import Event
from kamou.core.book.gate_events import GateChanged
from kamou.core.book.gate_states import StrategyGate
from kamou.core.book.position_book import PositionBook
from kamou.core.day import DAY_MS
from kamou.core.kinds import GateState
from kamou.core.record import demotion
from kamou.core.record.e_values import ResultOfTrade
from kamou.core.record.gate_record import gather_record
from kamou.core.record.gate_transitions import GateRules, find_transition
from kamou.store import database
from kamou.store.gate_changes import GateChangeRow, query_gate_changes
from kamou.store.journal import JournalWriter
from tests.core.record.test_gate_transitions import START_MS, trade
from tests.core.record.test_promotion import canary_record
from tests.core.shadow_cases import closed, closed_shadow, opened, shadow_trade

Cli = Callable[..., tuple[int, str, str]]
CANARY_MS = START_MS + 25 * DAY_MS


def shadow_events(trades: Sequence[ResultOfTrade]) -> Iterator[Event]:
    for each in trades:
        shadow = shadow_trade(
            f"{each.opened_at_ms}.{each.strategy}.{each.symbol}",
            strategy=each.strategy,
            symbol=each.symbol,
            opened_at_ms=each.opened_at_ms,
        )
        end = closed_shadow(shadow, r=each.r, pnl=each.pnl, closed_at_ms=each.closed_at_ms)
        yield opened(shadow, at_ms=each.opened_at_ms)
        yield closed(end, at_ms=each.closed_at_ms)


def earn_canary(events: Sequence[Event]) -> GateChanged:
    book = PositionBook()
    book.apply_all(enumerate(events, 1))
    change = find_transition(gather_record(book, "one"), StrategyGate(), CANARY_MS, GateRules())
    assert change is not None
    return change


def write_journal(file: Path, events: Sequence[Event]) -> None:
    connection = database.open_writer(file)
    JournalWriter(connection, run_number=1).append(list(events))
    connection.close()


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the journal of a canary, and of a trade whose day is not over."""
    monkeypatch.setattr(demotion, "RESAMPLED_PATHS", 200)
    events = list(shadow_events(canary_record()))
    late = trade(25 * DAY_MS, 5, "-1.05", "LATE")
    path = tmp_path / "kamou.sqlite3"
    write_journal(path, [*events, earn_canary(events), *shadow_events([late])])
    return path


def changes_of(file: Path) -> tuple[GateChangeRow, ...]:
    reader = database.open_reader(file)
    rows = query_gate_changes(reader, "one")
    reader.close()
    return rows


def test_explain_prints_the_arithmetic_the_lacks_and_the_changes_of_a_journal(
    cli: Cli, file: Path
) -> None:
    code, out, _ = cli("gate", "explain", "one", "--database", file)
    assert code == 0
    (change,) = changes_of(file)
    lines = " ".join(out.split())
    assert "one: CANARY, attempt 1" in lines
    assert "50 count; 1 closed ones do not count yet" in lines
    assert "SHADOW -> CANARY, attempt 1: canary_earned (e_value_blocks 1418.83" in lines
    assert "lacks: 0 closed canary trades; LIVE needs 30" in lines
    assert lines.count(change.data_hash[:20]) == 2


def test_explain_prints_every_product_of_every_block_with_json(cli: Cli, file: Path) -> None:
    code, out, _ = cli("gate", "explain", "--json", "--database", file)
    assert code == 0
    (found,) = json.loads(out)["strategies"]
    check_blocks(found)
    (row,) = changes_of(file)
    assert found["changes"][0]["data_hash"] == row.data_hash == found["data_hash"]
    assert (row.to_state, row.counted) == (GateState.CANARY, 50)
    assert (found["e_value_min"], found["e_value_min_live"]) == (20, 120)


def check_blocks(found: dict[str, Any]) -> None:
    """Multiply the bets again, and compare every line."""
    wealth = [1.0] * 10
    shares = [0.02, 0.05, 0.08, 0.12, 0.16, 0.20, 0.25, 0.30, 0.36, 0.42]
    assert len(found["blocks"]) == 25
    for line in found["blocks"]:
        wealth = [
            each * (1 + share * (line["mean_r"] - 0.05))
            for each, share in zip(wealth, shares, strict=True)
        ]
        assert line["products"] == pytest.approx(wealth)
        assert line["e_value"] == pytest.approx(sum(wealth) / 10)
    assert found["evaluation"]["e_value_blocks"] == pytest.approx(sum(wealth) / 10)


def test_explain_says_that_a_strategy_without_shadow_trades_begins_in_shadow(
    cli: Cli, tmp_path: Path
) -> None:
    file = tmp_path / "empty.sqlite3"
    write_journal(file, [])
    for arguments, named in (([], "no strategy"), (["one"], "nothing of one")):
        code, out, _ = cli("gate", "explain", *arguments, "--database", file)
        assert (code, named in out) == (0, True)
