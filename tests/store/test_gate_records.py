"""States and records at the gate from the tables are those that the fold has."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import attrs
import pytest

from kamou.core.book.gate_events import GateChanged
from kamou.core.book.position_book import PositionBook
from kamou.core.kinds import GateState
from kamou.core.record.gate_record import find_strategies, gather_record
from kamou.messages.codec import decode
from kamou.store.database import open_reader, open_writer
from kamou.store.gate_records import (
    find_gate_strategies,
    newest_shadow_trades,
    query_gate_source,
)
from kamou.store.journal import JournalWriter, read_events
from tests.web.shadow_record import write_shadow_record


@pytest.fixture(scope="module")
def shadows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shadows") / "kamou.sqlite3"
    write_shadow_record(path)
    return path


def fold(path: Path) -> PositionBook:
    book = PositionBook()
    with closing(open_reader(path)) as reader:
        book.apply_all((each.seq, each.event) for each in read_events(reader, 0))
    return book


def test_states_and_records_of_tables_are_those_of_the_folded_journal(shadows: Path) -> None:
    book = fold(shadows)
    with closing(open_reader(shadows)) as reader:
        names = find_gate_strategies(reader)
        assert list(names) == find_strategies(book)
        found = {name: query_gate_source(reader, name) for name in names}
    for name, source in found.items():
        assert source.gate == book.gate.find(name)
        record = gather_record(book, name)
        assert sorted(source.record.closed, key=str) == sorted(record.closed, key=str)
        assert source.record.open_since_ms == record.open_since_ms
        assert sorted(source.record.pairs, key=str) == sorted(record.pairs, key=str)
        assert source.opened == sum(each.strategy == name for each in book.shadows.open.values())
    states = {name: source.gate.state for name, source in found.items()}
    assert states["ratio_fade"] is GateState.HALTED
    assert states["mean_reversion"] is GateState.SHADOW
    assert states["funding_fade"] is GateState.LIVE
    assert found["funding_fade"].record.pairs


def test_pairs_of_a_live_strategy_are_those_of_its_canary_after_a_change_of_size(
    tmp_path: Path,
) -> None:
    path = tmp_path / "kamou.sqlite3"
    write_shadow_record(path)
    with closing(open_reader(path)) as reader:
        changes = [
            decode(GateChanged, body)
            for (body,) in reader.execute(
                "SELECT body FROM event WHERE kind = 'gate_changed' AND key LIKE 'funding_fade.%'"
                " ORDER BY seq"
            )
        ]
        (last_ms,) = reader.execute("SELECT max(at_ms) FROM event").fetchone()
    halved = attrs.evolve(
        changes[-1],
        at_ms=last_ms + 1,
        number=changes[-1].number + 1,
        from_state=GateState.LIVE,
        half_size=not changes[-1].half_size,
    )
    with closing(open_writer(path, durable=False)) as connection:
        JournalWriter(connection, run_number=2).append([halved])
    book = fold(path)
    with closing(open_reader(path)) as reader:
        source = query_gate_source(reader, "funding_fade")
    assert source.gate == book.gate.find("funding_fade")
    pairs = gather_record(book, "funding_fade").pairs
    assert sorted(source.record.pairs, key=str) == sorted(pairs, key=str)


def test_an_unknown_strategy_is_in_shadow_without_a_record(shadows: Path) -> None:
    with closing(open_reader(shadows)) as reader:
        source = query_gate_source(reader, "nobody")
    assert (source.gate.state, source.record.closed, source.opened) == (GateState.SHADOW, (), 0)


def test_newest_shadow_trades_are_closed_ones_the_newest_close_first(shadows: Path) -> None:
    with closing(open_reader(shadows)) as reader:
        rows = newest_shadow_trades(reader, "oi_momentum", limit=7)
    times = [each.closed_at_ms or 0 for each in rows]
    assert times == sorted(times, reverse=True)
    closes = [e.closed_at_ms for e in fold(shadows).shadows.results_of("oi_momentum")]
    assert times == sorted(closes, reverse=True)[:7]
