"""`kamou why` of a symbol that is in the journal but not in the last cycles."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import attrs
import pytest

from kamou.core.book.events import CycleRanked
from kamou.core.day import HOUR_MS
from kamou.data_directory.folder import DataDirectory
from kamou.store import database
from kamou.store.journal import JournalWriter
from tests.store import story

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(params=["open", "traded"])
def later(tmp_path: Path, request: pytest.FixtureRequest) -> DataDirectory:
    """Journal an open or closed trade in ETHUSDT, then 13 cycles without candidates."""
    directory = DataDirectory(tmp_path / "kamou-data")
    directory.create()
    events = story.opening_events() + (story.closing_events() if request.param == "traded" else [])
    (ranking,) = [event for event in events if isinstance(event, CycleRanked)]
    empty = [
        attrs.evolve(
            ranking,
            at_ms=ranking.at_ms + 48 * HOUR_MS + n * 60_000,
            cycle_at_ms=ranking.cycle_at_ms + 48 * HOUR_MS + n * 60_000,
            candidates=0,
            by_strategy=(),
            top=(),
        )
        for n in range(13)
    ]
    with closing(database.open_writer(directory.database, durable=False)) as writer:
        JournalWriter(writer, run_number=1).append([*events, *empty])
    return directory


def test_why_says_that_a_symbol_of_the_journal_was_not_a_candidate(
    cli: Cli, later: DataDirectory
) -> None:
    code, out, _ = cli("why", "ethusdt")
    assert code == 0
    assert out.endswith(
        "the journal has nothing about ETHUSDT in the last 12 cycles: it was not a candidate\n"
    )
    assert json.loads(cli("why", "ETHUSDT", "--json")[1])["nearest"] is None


def test_why_says_that_a_name_without_records_may_not_be_a_symbol(
    cli: Cli, later: DataDirectory
) -> None:
    assert "or it is not one of the symbols" in cli("why", "NONEUSDT")[1]
