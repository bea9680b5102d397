"""A fast-forward scores its market in blocks, and decides what single bars decide."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import closing
from pathlib import Path

import attrs
import pytest

from kamou.actors.scanner import Scanner
from kamou.core.day import DAY_MS
from kamou.core.ranking import recorded_scores
from kamou.core.record.gate import EarnedGate
from kamou.data_directory.folder import DataDirectory, write_atomically
from kamou.messages.market import BarsClosed
from kamou.runs import demo
from kamou.settings.config import DemoSettings, Settings
from kamou.store.database import open_reader
from kamou.store.journal import read_events
from tests.small_demo import NOW_MS

DAYS = 2


def run_history(folder: Path) -> list[str]:
    """Return the events of a fast-forward with all strategies, the first one left out."""
    shape = DemoSettings(seed=2, symbols=10, days=DAYS)
    settings = attrs.evolve(Settings(data_dir=folder), demo=shape)
    directory = DataDirectory(folder)
    directory.create()
    write_atomically(directory.salt_key, "11" * 32)
    binding = demo.resolve_binding(
        settings, directory, now_ms=NOW_MS, fast_forward=True, replay=None
    )
    forward = demo.FastForward(
        settings=settings,
        data_dir=directory,
        source=demo.open_source(settings, binding, replay=None, now_ms=NOW_MS),
        start_ms=binding.genesis_ms,
        until_ms=binding.until_ms,
        gate=EarnedGate(),
        progress=lambda _phase, _done, _total: None,
        announce=lambda _exit: None,
        on_strategy_failed=lambda failure: pytest.fail(str(failure)),
        stop=threading.Event(),
    )
    assert forward.run()
    with closing(open_reader(directory.database)) as reader:
        return [repr(each.event) for each in read_events(reader, 0)][1:]


def test_a_history_scored_in_blocks_has_the_events_of_one_scored_bar_by_bar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: Counter[bool] = Counter()
    take = Scanner._take_recorded

    def counted(scanner: Scanner, message: BarsClosed) -> bool:
        found = take(scanner, message)
        taken[found] += 1
        return found

    monkeypatch.setattr(Scanner, "_take_recorded", counted)
    in_blocks = run_history(tmp_path / "blocks")
    bars = DAYS * DAY_MS // 900_000
    assert taken[True] >= bars
    taken.clear()
    monkeypatch.setattr(recorded_scores, "find_block_strategies", lambda _strategies: None)
    bar_by_bar = run_history(tmp_path / "bars")
    assert taken[True] == 0
    # Scanners that take turns write the events of an instant in another order.
    assert sorted(in_blocks) == sorted(bar_by_bar)
    assert sum(each.startswith("ShadowTradesOpened") for each in in_blocks) > 10
