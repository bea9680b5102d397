"""`kamou why` of a symbol that the record knows and the last cycles do not name."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import attrs
import pytest
from store import story

from kamou.core.book.events import CycleRanked
from kamou.core.day import HOUR_MS
from kamou.data_directory.folder import DataDirectory
from kamou.store import database
from kamou.store.journal import JournalWriter

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(params=["held", "traded"])
def later(tmp_path: Path, request: pytest.FixtureRequest) -> DataDirectory:
    """ETHUSDT was bought, in one of two cases sold too, and 13 cycles without it followed."""
    folder = DataDirectory(tmp_path / "kamou-data")
    folder.create()
    events = story.opening() + (story.closing() if request.param == "traded" else [])
    (ranking,) = [event for event in events if isinstance(event, CycleRanked)]
    empty = [
        attrs.evolve(
            ranking,
            at_ms=ranking.at_ms + 48 * HOUR_MS + n * 60_000,
            cycle_at_ms=ranking.cycle_at_ms + 48 * HOUR_MS + n * 60_000,
            candidates=0,
            top=(),
        )
        for n in range(13)
    ]
    with closing(database.open_writer(folder.database, durable=False)) as writer:
        JournalWriter(writer, run_number=1).append([*events, *empty])
    return folder


def test_a_symbol_of_the_record_was_not_a_candidate(cli: Cli, later: DataDirectory) -> None:
    code, out, _ = cli("why", "ethusdt")
    assert code == 0
    assert out.endswith(
        "the journal has nothing about ETHUSDT in the last 12 cycles: it was not a candidate\n"
    )
    assert json.loads(cli("why", "ETHUSDT", "--json")[1])["nearest"] is None


def test_a_symbol_that_the_record_does_not_know_may_be_none(cli: Cli, later: DataDirectory) -> None:
    assert "or it is not one of the symbols" in cli("why", "NONEUSDT")[1]
