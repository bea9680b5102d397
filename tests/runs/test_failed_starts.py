"""Tests of starts of ``kamou run`` that fail, and of its restart storms."""

from __future__ import annotations

import socket
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import attrs
import pytest
import trio

from kamou.actors.reconciler import Reconciler
from kamou.clock import SimulatedClock
from kamou.core import strategies
from kamou.core.book.events import RunStopped, StateChanged
from kamou.core.day import MINUTE_MS
from kamou.core.kinds import MarketEdges
from kamou.core.model import TradingState
from kamou.data_directory.folder import DataDirectory
from kamou.errors import (
    ConfigurationError,
    DatabaseNewerError,
    InvalidDataError,
    ListenError,
    StoreError,
    find_error_to_show,
)
from kamou.runs import demo, service
from kamou.runs.assumed_live import AssumedLiveGate
from kamou.runtime.supervision import RestartStormError
from kamou.settings.config import DemoSettings, Settings, SupervisionSettings, WebSettings
from kamou.store import database
from kamou.venue.market import edges
from kamou.venue.market.edges import Edge
from kamou.venue.market.generator import GeneratedMarket
from kamou.venue.store import VenueStore
from tests.small_demo import (
    NOW_MS,
    SetClock,
    assert_same_book,
    folded,
    journal,
    of_kind,
    resolved,
    run_table,
    serving,
    settings,
    venue,
)
from tests.store.market_files import bar_rows, write_parquet

FRAGILE = SupervisionSettings(intensity=1, backoff_base_ms=1, backoff_cap_ms=1)


def run(of: Settings, *, said: list[str] | None = None, **options: Any) -> int:
    """Call ``service.run`` as the command line does, but with the assumed gate."""
    given: dict[str, Any] = {"fast_forward": True, "replay": None, "clock": SetClock()}
    assumed = partial(service.Service, gate=AssumedLiveGate())
    with patch.object(service, "Service", assumed):
        return service.run(
            resolved(of),
            progress=lambda what, done, total: None,
            announce=([] if said is None else said).append,
            **(given | options),
        )


def error_text(kind: type[Exception], of: Settings, **options: Any) -> str:
    """Return the text of the error with which a run ends; a group fails the test."""
    with pytest.raises(kind) as caught:
        run(of, **options)
    return str(caught.value)


# --- starts that fail --------------------------------------------------------------------


def test_a_data_directory_of_another_market_is_an_error_and_keeps_its_market(
    tmp_path: Path,
) -> None:
    of = settings(tmp_path)
    data_dir = create_data_directory(tmp_path)
    begun = demo.resolve_binding(of, data_dir, now_ms=NOW_MS, fast_forward=True, replay=None)
    demo.store_binding(data_dir, begun)
    other = attrs.evolve(of, demo=attrs.evolve(of.demo, seed=8))
    words = error_text(ConfigurationError, other)
    for said in ("seed=7", "seed=8", "--data-dir"):
        assert said in words
    known = demo.resolve_binding(of, data_dir, now_ms=0, fast_forward=False, replay=None)
    assert known == begun, "the market of the first run stays"


def test_a_data_directory_is_bound_to_the_planted_edges_of_its_market(tmp_path: Path) -> None:
    of = settings(tmp_path)
    planted = attrs.evolve(of, demo=attrs.evolve(of.demo, edges=MarketEdges.BY_SEED))
    data_dir = create_data_directory(tmp_path)
    begun = demo.resolve_binding(planted, data_dir, now_ms=NOW_MS, fast_forward=True, replay=None)
    demo.store_binding(data_dir, begun)
    assert begun.market.endswith(",edges=mean_reversion"), "seed 7 has the edges of seed 1"
    words = error_text(ConfigurationError, of)
    assert "edges=mean_reversion" in words
    # Commands that read the directory take its own market, whatever is set now.
    assert begun.demo(of.demo) == planted.demo
    source = demo.open_source(planted, begun, replay=None, now_ms=NOW_MS)
    assert isinstance(source, GeneratedMarket)
    assert source.paths.edges == (Edge.MEAN_REVERSION,)


def test_a_seed_without_edges_and_no_edges_are_the_same_market(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edges, "EDGES_BY_SEED", ((), (Edge.RATIO_FADE,)))
    of = settings(tmp_path)
    bindings = [
        demo.resolve_binding(
            attrs.evolve(of, demo=attrs.evolve(of.demo, seed=3, edges=choice)),
            create_data_directory(tmp_path / choice),
            now_ms=NOW_MS,
            fast_forward=True,
            replay=None,
        )
        for choice in MarketEdges
    ]
    assert bindings[0] == bindings[1]
    assert "edges" not in bindings[0].market
    assert all(begun.demo(of.demo).edges is MarketEdges.NONE for begun in bindings)


def test_a_cycle_shorter_than_the_demos_bars_is_an_error_that_says_what_to_set(
    tmp_path: Path,
) -> None:
    of = settings(tmp_path)
    short = attrs.evolve(of, cycle=attrs.evolve(of.cycle, period_s=60))
    words = error_text(ConfigurationError, short)
    assert "cycle.period_s = 60" in words
    assert "demo.bar_s = 300" in words
    assert "set cycle.period_s to 300 or more" in words
    venue = VenueStore(DataDirectory(tmp_path).exchange)
    with closing(venue):
        assert demo.load_binding(venue) is None, "no market is stored"


def create_data_directory(path: Path) -> DataDirectory:
    data_dir = DataDirectory(path)
    data_dir.create()
    return data_dir


def test_a_missing_pricing_file_is_an_error_with_its_setting(tmp_path: Path) -> None:
    of = settings(tmp_path, web=WebSettings(port=0, operator_port=0, pricing_file="none.md"))
    words = error_text(ConfigurationError, of)
    assert "web.pricing_file" in words
    assert "none.md" in words


@pytest.mark.parametrize(("key", "option"), [("port", "--port"), ("operator_port", "--operator")])
def test_a_taken_port_is_an_error_with_its_option(tmp_path: Path, key: str, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = {"port": 0, "operator_port": 0, key: taken.getsockname()[1]}
        words = error_text(ListenError, settings(tmp_path, web=WebSettings(**ports)))
    assert "is taken" in words
    assert option in words
    assert not (tmp_path / "run.json").exists(), "a run without its listener has no run record"


def test_a_database_of_a_newer_kamou_is_an_error_and_is_not_changed(tmp_path: Path) -> None:
    data_dir = create_data_directory(tmp_path)
    database.migrate_journal(data_dir.database)
    with closing(sqlite3.connect(data_dir.database)) as newer:
        newer.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at)"
            " VALUES ('kamou', '9999_later', '')"
        )
        newer.commit()
    before = data_dir.database.read_bytes()
    assert "newer Kamou" in error_text(DatabaseNewerError, settings(tmp_path))
    assert data_dir.database.read_bytes() == before


def test_an_exchange_file_of_a_newer_kamou_is_an_error(tmp_path: Path) -> None:
    data_dir = create_data_directory(tmp_path)
    with closing(sqlite3.connect(data_dir.exchange)) as newer:
        newer.execute("PRAGMA user_version = 99")
    assert "newer Kamou" in error_text(DatabaseNewerError, settings(tmp_path))


def test_a_file_at_the_path_of_the_data_directory_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("in the way")
    words = error_text(StoreError, settings(path))
    assert str(path) in words
    assert "--data-dir" in words


def test_a_journal_file_that_is_no_database_is_an_error_and_is_not_changed(tmp_path: Path) -> None:
    data_dir = create_data_directory(tmp_path)
    data_dir.database.write_text("not a database, and long enough to have a header of its own" * 9)
    words = error_text(StoreError, settings(tmp_path))
    assert "Kamou database" in words
    assert data_dir.database.read_text().startswith("not a database")


def test_invalid_bars_end_the_run_with_one_error_that_names_the_row(
    tmp_path: Path,
) -> None:
    rows = bar_rows()
    rows[7]["close"] = float("nan")
    write_parquet(tmp_path / "bad" / "bars_1h.parquet", rows)
    of = settings(tmp_path / "data")
    words = error_text(InvalidDataError, of, replay=tmp_path / "bad")
    assert "bars_1h.parquet" in words
    assert "8" in words, "the error has the number of the row"
    data_dir = DataDirectory(tmp_path / "data")
    new = demo.resolve_binding(of, data_dir, now_ms=NOW_MS, fast_forward=True, replay=None)
    assert new.replay is None, "a market that could not be opened is not stored"


def test_a_strategy_file_that_does_not_import_is_a_configuration_error_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.py").write_text("import no_such_package\n")
    monkeypatch.setattr(strategies, "__path__", [*strategies.__path__, str(tmp_path)])
    words = error_text(ConfigurationError, settings(tmp_path / "data"))
    assert "broken.py" in words
    assert "no_such_package" in words


async def test_an_operator_listener_on_a_public_address_announces_a_warning(tmp_path: Path) -> None:
    web = WebSettings(port=0, operator_port=0, operator_host="0.0.0.0")
    async with serving(settings(tmp_path, web=web), fast_forward=False) as running:
        assert any("0.0.0.0" in line and "others can" in line for line in running.said)


# --- restart storms ----------------------------------------------------------------------


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Make the reconciler fail to recover in real time until the list is cleared."""
    recover = Reconciler.recover
    states = [True]

    async def fail(self: Reconciler) -> None:
        if states and not isinstance(self.clock, SimulatedClock):
            raise RuntimeError("broken for good")
        await recover(self)

    monkeypatch.setattr(Reconciler, "recover", fail)
    return states


def test_a_restart_storm_halts_ends_the_run_and_leaves_the_stops(
    tmp_path: Path, broken: list[bool]
) -> None:
    said: list[str] = []
    words = error_text(RestartStormError, settings(tmp_path, supervision=FRAGILE), said=said)
    assert "broken for good" in words
    assert RestartStormError.exit_code == 1
    assert any("core/reconciler crashed: RuntimeError('broken for good')" in s for s in said)
    data_dir = DataDirectory(tmp_path)
    assert run_table(data_dir) == [(1, "stopped"), (2, "crashed")]
    events = journal(data_dir)
    state = of_kind(events, StateChanged)[-1]
    assert (state.after, state.reason) == (TradingState.REDUCE_ONLY, "RESTART_STORM")
    assert type(events[-1]) is RunStopped
    assert venue(data_dir).positions
    assert_same_book(data_dir)

    broken.clear()
    trio.run(_assert_halted_until_a_resume, settings(tmp_path))


async def _assert_halted_until_a_resume(of: Settings) -> None:
    async with serving(of, now_ms=NOW_MS + MINUTE_MS) as running:
        await running.ready()
        assert (await running.status())["state_reason"] == "RESTART_STORM"
        assert (await running.command("resume")).json()["state"] == "active"


def test_a_restart_storm_in_the_fast_forward_halts_and_ends_the_run_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks: list[int] = []
    tick = Reconciler.tick

    async def fail_later(self: Reconciler) -> None:
        ticks.append(1)
        if len(ticks) > 100:
            raise RuntimeError("broken for good")
        await tick(self)

    monkeypatch.setattr(Reconciler, "tick", fail_later)
    assert "broken for good" in error_text(
        RestartStormError, settings(tmp_path, supervision=FRAGILE)
    )
    data_dir = DataDirectory(tmp_path)
    book = folded(journal(data_dir))
    assert (book.trading.state, book.trading.reason) == (TradingState.REDUCE_ONLY, "RESTART_STORM")
    assert run_table(data_dir) == [(1, "crashed")]


def test_an_unexpected_error_is_raised_with_its_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defect(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(demo, "open_source", defect)
    with pytest.raises(ExceptionGroup) as caught:
        run(settings(tmp_path, demo=DemoSettings(symbols=2)))
    assert caught.group_contains(ZeroDivisionError)


def test_the_error_to_show_of_a_group_with_a_keyboard_interrupt_is_the_interrupt() -> None:
    both = BaseExceptionGroup(
        "", [ValueError("torn"), BaseExceptionGroup("", [KeyboardInterrupt()])]
    )
    assert type(find_error_to_show(both)) is KeyboardInterrupt
