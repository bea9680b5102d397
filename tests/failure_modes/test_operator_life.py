"""Actions of operators: restart, upgrade, restore, second start, manual orders."""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path
from typing import Any

import attrs
import pytest

from kamou import app
from kamou.actors.exchange import ExchangeActor
from kamou.actors.followers import BookFollower
from kamou.core.book.events import PermitGranted, StateChanged
from kamou.core.book.position_book import PositionBook
from kamou.core.model import OrderType, TradingState
from kamou.core.reconciliation import orphan_orders
from kamou.data_directory.lock import DataDirectoryLock
from kamou.errors import AlreadyRunningError
from tests.actors.system_harness import SETTINGS, Ended, Harness, at
from tests.failure_modes.harness import (
    HELD,
    D,
    between_runs,
    compare_own_symbols_only,
    find_errors,
    place_external_order,
    play,
    position_at,
    select_errors,
    stops_at,
)

# --- restarts --------------------------------------------------------------------------------


def cancel_orders_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Naive: at its end a run cancels all orders on the account, also stops."""

    async def run(self: ExchangeActor, *args: Any, **more: Any) -> None:
        try:
            await original(self, *args, **more)
        finally:
            engine = self._port.engine  # type: ignore[attr-defined]  # the simulated exchange has one
            for order in engine.open_orders():
                engine.cancel(order.client_order_id)

    original = ExchangeActor.run
    monkeypatch.setattr(ExchangeActor, "run", run)


def start_with_an_empty_book(monkeypatch: pytest.MonkeyPatch) -> None:
    """Naive: only the process keeps its state."""

    async def recover(self: BookFollower) -> PositionBook:
        self._own = PositionBook(seq=self._journal.head_seq)
        return self._own

    monkeypatch.setattr(BookFollower, "recover", recover)


@pytest.mark.parametrize("naive", [cancel_orders_at_the_end, start_with_an_empty_book])
def test_a_planned_restart_keeps_positions_and_their_stops_and_continues_their_trades(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, naive: Any
) -> None:
    """The operator restarts Kamou while positions are open."""

    def run_case(data_dir: Path) -> list[str]:
        play(data_dir=data_dir, minutes=2.5)
        with between_runs(data_dir, 2.95) as venue:
            stops = [o.symbol for o in venue.open_orders() if o.type is OrderType.STOP_MARKET]
            unprotected = {p.symbol for p in venue.positions()} - set(stops)
        found = find_errors(play(data_dir=data_dir, begin_ms=at(3)))
        return [*(f"unprotected between runs: {symbol}" for symbol in unprotected), *found]

    assert run_case(tmp_path / "kamou") == []
    naive(monkeypatch)
    found = run_case(tmp_path / "naive")
    assert select_errors(found, "unprotected between runs") or select_errors(
        found, "PositionAdopted"
    )


OTHER = attrs.evolve(
    SETTINGS,
    cycle=attrs.evolve(SETTINGS.cycle, shards=1),
    risk=attrs.evolve(SETTINGS.risk, risk_per_trade=D("0.005")),
    change_reason="an upgrade",
)


def test_an_upgrade_with_open_positions_trusts_the_events_and_no_snapshot_of_other_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code and settings of Kamou change while positions are open."""

    def run_case(data_dir: Path, before: str, after: str) -> list[str]:
        def old_dump(self: PositionBook) -> bytes:
            """Return the snapshot of a former version, in which this version finds no trade."""
            former = self.fork()
            former.trades.open.clear()
            return dump(former)

        with monkeypatch.context() as former:
            former.setattr(app, "fold_hash", lambda: before)
            former.setattr(PositionBook, "dump", old_dump)
            play(data_dir=data_dir, minutes=2.5)
        with monkeypatch.context() as upgraded:
            upgraded.setattr(app, "fold_hash", lambda: after)
            return find_errors(play(data_dir=data_dir, begin_ms=at(3), settings=OTHER))

    dump = PositionBook.dump
    assert run_case(tmp_path / "kamou", "former", "new") == []

    # Naive: a snapshot of any code is used.
    assert select_errors(run_case(tmp_path / "naive", "same", "same"), "PositionAdopted")


def test_after_a_restored_backup_the_venues_positions_are_adopted_and_entries_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backup is restored, so the journal is minutes older than the venue."""

    def run_case(data_dir: Path) -> Ended:
        journal, backup = data_dir / "journal.sqlite3", data_dir.with_suffix(".backup")
        play(data_dir=data_dir, minutes=3.5)
        shutil.copy(journal, backup)
        play(data_dir=data_dir, begin_ms=at(3.85), minutes=6.5)  # AAA is entered again
        for suffix in ("-wal", "-shm"):
            journal.with_name(journal.name + suffix).unlink(missing_ok=True)
        shutil.copy(backup, journal)
        return play(data_dir=data_dir, begin_ms=at(6.85), minutes=8)

    def broken(ended: Ended) -> list[str]:
        # Without the lost intents the fills have no orders, and their money is unexplained.
        lost = (
            "sent without an intent",
            "permits without a trade: set()",  # an adopted position has no permit
            "wallet balance",
            "unexpected drift",
            "the state is reduce_only",
        )
        return [line for line in find_errors(ended, 8) if not line.startswith(lost)]

    ended = run_case(tmp_path / "kamou")
    assert broken(ended) == []
    assert ended.book.trades.open["AAA"].adopted
    assert (TradingState.REDUCE_ONLY, "RECONCILE_MISMATCH") in [
        (e.after, e.reason) for e in ended.of(StateChanged)
    ]
    assert [e for e in ended.of(PermitGranted) if e.at_ms > at(6.85)] == []

    compare_own_symbols_only(monkeypatch)
    assert select_errors(broken(run_case(tmp_path / "naive")), "positions")


# --- two runs at once ------------------------------------------------------------------------


def is_free(data_dir: Path) -> bool:
    """Return True if a run could start on the data directory."""
    try:
        with DataDirectoryLock(data_dir):
            return True
    except AlreadyRunningError:
        return False


def test_a_data_directory_is_locked_while_a_run_holds_it_and_free_after_the_run_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs could trade on one data directory at once."""
    with DataDirectoryLock(tmp_path / "held"):
        assert not is_free(tmp_path / "held")
    assert is_free(tmp_path / "held")  # the lock file exists, its holder has ended

    # Naive: a run opens the lock's file and takes no lock of the kernel on it.
    def by_the_file(descriptor: int, operation: int) -> None:
        return None

    monkeypatch.setattr(fcntl, "flock", by_the_file)
    with DataDirectoryLock(tmp_path / "held"):
        assert is_free(tmp_path / "held")


# --- external orders -------------------------------------------------------------------------


@pytest.mark.parametrize("symbol", ["HHH", HELD])
def test_external_orders_are_not_canceled_and_positions_with_external_fills_are_protected(
    symbol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """External orders are placed on Kamou's account."""

    def run_case() -> tuple[Ended, list[Any]]:
        seen: list[Any] = []

        async def direct(harness: Harness) -> None:
            await harness.until(3.3)
            await place_external_order(harness, "GGG", D(2), limit_price=D(50))  # rests far below
            await place_external_order(harness, symbol, D("0.5"))
            await harness.until(4.5)
            stops = sum(o.quantity - o.filled for o in stops_at(harness, symbol))
            seen.extend([stops, position_at(harness, symbol)])

        return play(direct=direct), seen

    ended, (covered, held) = run_case()
    assert covered == held > 0
    assert ended.checked.violations == ()
    assert "by-hand-GGG" in {order.client_order_id for order in ended.orders}

    # Naive: every order on the account counts as an orphan order of Kamou.
    monkeypatch.setattr(orphan_orders, "is_kamou_id", lambda client: True)
    assert "by-hand-GGG" not in {order.client_order_id for order in run_case()[0].orders}
