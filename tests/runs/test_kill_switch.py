"""Tests of the kill switch without a run, and of the run after it."""

from __future__ import annotations

import json
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from kamou import ids
from kamou.core.book.events import IntentRecorded, StateChanged
from kamou.core.day import MINUTE_MS
from kamou.core.model import OrderSide, OrderStatus, OrderType, PositionReport
from kamou.data_directory.folder import DataDirectory
from kamou.data_directory.latch import HaltLatch
from kamou.errors import InvalidPermitError, NotRunningError, RejectedError
from kamou.exchange.embedded import SimulatedExchange
from kamou.runs import demo, flatten
from kamou.settings.config import Settings
from kamou.venue.engine import Engine
from kamou.venue.models import VenueModels
from kamou.venue.state import OrderRequest, WorkingOrder
from kamou.venue.store import VenueStore
from tests.small_demo import (
    NOW_MS,
    SetClock,
    assert_same_book,
    fills_of,
    folded,
    journal,
    of_kind,
    resolved,
    serving,
    settings,
    venue,
)
from tests.store.market_files import HOUR_MS, bar_rows, write_parquet


async def flatten_all(of: Settings, at_ms: int = NOW_MS + MINUTE_MS) -> flatten.FlattenResult:
    """Set the latch and run the kill switch, as `kamou flatten` does."""
    HaltLatch(DataDirectory(of.data_dir).latch).set("storm", "operator", at_ms)

    def run() -> flatten.FlattenResult:
        return flatten.run(resolved(of), clock=SetClock(at_ms))

    return await trio.to_thread.run_sync(run)


async def test_positions_that_the_venues_first_list_omits_are_closed(
    traded: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    of, data_dir = settings(traded.path), traded
    held = len(venue(data_dir).positions)
    real, asked = SimulatedExchange.positions, 0

    async def omit_once(self: SimulatedExchange) -> tuple[PositionReport, ...]:
        nonlocal asked
        asked += 1
        return () if asked == 1 else await real(self)

    monkeypatch.setattr(SimulatedExchange, "positions", omit_once)
    done = await flatten_all(of)
    assert (done["positions_closed"], done["positions_left"]) == (held, 0)


async def test_stops_stay_while_the_venues_file_has_positions_that_its_lists_omit(
    traded: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    of, data_dir = settings(traded.path), traded
    held = len(venue(data_dir).positions)
    before = venue(data_dir)
    stops = {name for name in before.live if before.orders[name].request.trigger_price}

    async def omit_all(self: SimulatedExchange) -> tuple[PositionReport, ...]:
        return ()

    monkeypatch.setattr(SimulatedExchange, "positions", omit_all)
    done = await flatten_all(of)
    assert (done["positions_closed"], done["positions_left"]) == (0, held)
    assert len(stops) >= held
    assert stops <= set(venue(data_dir).live)


async def test_a_flatten_closes_positions_and_cancels_orders_and_a_second_one_does_nothing(
    traded: DataDirectory,
) -> None:
    of, data_dir = settings(traded.path), traded
    held = len(venue(data_dir).positions)
    done = await flatten_all(of)
    assert (done["positions_closed"], done["positions_left"]) == (held, 0)
    assert (done["positions_found"], done["positions_closed_elsewhere"]) == (held, 0)
    assert done["orders_canceled"] >= held, "a stop of each position, at least"
    assert not venue(data_dir).positions
    assert not venue(data_dir).live
    fills = fills_of(data_dir)
    again = await flatten_all(of)
    assert [again[k] for k in ("orders_canceled", "positions_closed", "positions_left")] == [0] * 3
    assert fills_of(data_dir) == fills


async def test_the_next_run_imports_the_flatten_log_once_and_trades_after_two_resumes(
    traded: DataDirectory,
) -> None:
    of, data_dir = settings(traded.path), traded
    held = len(venue(data_dir).positions)
    await flatten_all(of)
    # A crash cut its last line short.
    with data_dir.flatten_log.open("a") as log:
        log.write('{"intent": "{\\"cli')
    for minute in (2, 3):
        async with serving(of, now_ms=NOW_MS + minute * MINUTE_MS) as running:
            await running.ready()
            counts = await running.status()
            assert (counts["state"], counts["state_reason"]) == ("flattening", "OPERATOR_FLATTEN")
        intents = [
            e.intent
            for e in of_kind(journal(data_dir), IntentRecorded)
            if e.intent.trade_id.startswith("flatten.")
        ]
        assert len(intents) == held, "each intent is journalled once over two runs"
        assert_same_book(data_dir)
        assert not folded(journal(data_dir)).trades.open

    notes = [f.value for e in of_kind(journal(data_dir), StateChanged) for f in e.figures]
    assert notes == ["storm"], "the reason of the kill switch is journalled once"
    HaltLatch(data_dir.latch).clear("over", "operator", NOW_MS + 7 * MINUTE_MS // 2)
    async with serving(of, now_ms=NOW_MS + 4 * MINUTE_MS) as running:
        await running.ready()
        changed = of_kind(journal(data_dir), StateChanged)[-1]
        assert (changed.after.value, changed.reason) == ("reduce_only", "OPERATOR_RESUME")
        assert [f.value for f in changed.figures] == ["over"], (
            "the cleared latch is the first resume"
        )
        assert (await running.command("resume")).json()["state"] == "active"


async def test_positions_of_a_replayed_market_are_closed_after_the_replay_has_ended(
    tmp_path: Path,
) -> None:
    recorded = tmp_path / "recorded"
    rows = bar_rows(bars=300)
    write_parquet(recorded / "bars_1h.parquet", rows)
    now_ms = rows[-1]["ts"] + 2 * HOUR_MS
    of = settings(tmp_path / "data")
    of = attrs.evolve(of, demo=attrs.evolve(of.demo, days=6))
    async with serving(of, now_ms=now_ms, replay=recorded) as running:
        while not any("replay has ended" in line for line in running.said):  # noqa: ASYNC110 - announced once
            await trio.sleep(0.01)
    data_dir = running.data_dir
    assert venue(data_dir).positions
    done = await flatten_all(of, now_ms)
    assert done["positions_left"] == 0
    assert not venue(data_dir).positions


@attrs.frozen
class RejectingVenue:
    """A fake ``SimulatedExchange.reduce`` that rejects the first ``times`` orders."""

    times: int
    said: list[str] = attrs.Factory(list)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        reduce = SimulatedExchange.reduce
        said, times = self.said, self.times

        async def no(port: SimulatedExchange, *args: Any, **kwargs: Any) -> Any:
            said.append("no")
            if len(said) <= times:
                raise RejectedError("BUSY", "ask again")
            return await reduce(port, *args, **kwargs)

        monkeypatch.setattr(SimulatedExchange, "reduce", no)
        monkeypatch.setattr(flatten, "FLATTEN_PAUSE_S", 0.0)


async def test_an_exit_order_that_the_venue_rejects_is_sent_again_with_a_new_client_order_id(
    traded: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    of, data_dir = settings(traded.path), traded
    held = len(venue(data_dir).positions)
    RejectingVenue(1).install(monkeypatch)
    done = await flatten_all(of)
    assert (done["positions_closed"], done["positions_left"]) == (held, 0)
    intents = flatten.FlattenLog(path=data_dir.flatten_log).read_intents()
    assert len({i.client_order_id for i in intents}) == len(intents) == held + 1


async def test_a_position_that_cannot_be_closed_keeps_its_stop_and_is_reported(
    traded: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    of, data_dir = settings(traded.path), traded
    held = len(venue(data_dir).positions)
    RejectingVenue(1_000).install(monkeypatch)
    done = await flatten_all(of)
    assert (done["positions_closed"], done["positions_left"]) == (0, held)
    assert_same_book(data_dir)
    notes = [json.loads(line).get("note") for line in data_dir.flatten_log.read_text().splitlines()]
    assert notes.count("failed") == flatten.ATTEMPTS_MAX * held
    assert notes[-1] == "done"


def place_orders(of: Settings, data_dir: DataDirectory, *requests: OrderRequest) -> None:
    """Place orders at the venue as another process would, and match them."""
    with closing(VenueStore(data_dir.exchange)) as store:
        binding = demo.load_binding(store)
        assert binding is not None
        source = demo.open_source(of, binding, replay=None, now_ms=NOW_MS)
        models = VenueModels.from_settings(of.exchange, of.costs)
        engine = Engine(source, models, store, start_ms=NOW_MS, wallet_balance=of.equity)
        for request in requests:
            engine.place(request)
        engine.close()


@pytest.mark.parametrize("side", list(OrderSide))
async def test_longs_and_shorts_are_closed_to_the_last_contract(
    traded: DataDirectory, side: OrderSide
) -> None:
    of, data_dir = settings(traded.path), traded
    free = next(s for s in ("BTCUSDT", "ETHUSDT") if s not in venue(data_dir).positions)
    opened = OrderRequest(
        client_order_id="somebody-else",
        symbol=free,
        side=side,
        type=OrderType.MARKET,
        quantity=Decimal("0.01"),
        leverage=1,
    )
    place_orders(of, data_dir, opened)
    before = venue(data_dir).positions
    assert (before[free].quantity > 0) is (side is OrderSide.BUY)
    done = await flatten_all(of)
    assert (done["positions_closed"], done["positions_left"]) == (len(before), 0)
    assert not venue(data_dir).positions
    # One market order closes each position: of its whole size and of the opposite side.
    closes = {i.symbol: i for i in flatten.FlattenLog(path=data_dir.flatten_log).read_intents()}
    for symbol, held in before.items():
        close = closes[symbol]
        assert (close.quantity, close.reduce_only) == (abs(held.quantity), True)
        assert (close.side is OrderSide.SELL) is (held.quantity > 0)


async def test_kamous_entries_are_canceled_and_external_orders_are_not(
    traded: DataDirectory,
) -> None:
    of, data_dir = settings(traded.path), traded
    resting = [
        OrderRequest(
            client_order_id=name,
            symbol="BTCUSDT",
            side=OrderSide.BUY,
            type=OrderType.LIMIT,
            quantity=Decimal("0.01"),
            limit_price=Decimal(20_000),
            leverage=1,
        )
        for name in (ids.CLIENT_ID_PREFIX + 26 * "a", "somebody-else")
    ]
    place_orders(of, data_dir, *resting)
    done = await flatten_all(of)
    assert list(venue(data_dir).live) == ["somebody-else"]
    assert done["entries_left"] == 0, "an external entry is not counted"


async def test_a_position_that_opens_again_after_each_exit_is_reported_as_left(
    traded: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    of, data_dir = settings(traded.path), traded
    held = sorted(venue(data_dir).positions)
    real = SimulatedExchange.reduce

    async def reduce_and_reopen(port: SimulatedExchange, intent: Any, **more: Any) -> Any:
        done = await real(port, intent, **more)
        if intent.symbol == held[0]:
            again = OrderRequest(
                client_order_id=f"other-{intent.client_order_id}",
                symbol=intent.symbol,
                side=OrderSide.BUY if intent.side is OrderSide.SELL else OrderSide.SELL,
                type=OrderType.MARKET,
                quantity=intent.quantity,
                leverage=intent.leverage,
            )
            port.engine.place(again)
        return done

    monkeypatch.setattr(SimulatedExchange, "reduce", reduce_and_reopen)
    monkeypatch.setattr(flatten, "FLATTEN_PAUSE_S", 0.0)
    done = await flatten_all(of)
    counts = [done[k] for k in ("positions_closed", "positions_closed_elsewhere", "positions_left")]
    assert counts == [len(held) - 1, 0, 1]


async def test_a_position_counts_as_closed_by_the_flatten_only_if_its_order_filled(
    traded: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exit order ends unfilled if the position's stop was filled before it."""
    of, data_dir = settings(traded.path), traded
    held = sorted(venue(data_dir).positions)
    real = VenueStore.order

    def order_without_fill(self: VenueStore, client_order_id: str) -> WorkingOrder | None:
        order = real(self, client_order_id)
        if order is not None and order.request.symbol == held[0]:
            order.status = OrderStatus.CANCELED
        return order

    monkeypatch.setattr(VenueStore, "order", order_without_fill)
    done = await flatten_all(of)
    counts = [done[k] for k in ("positions_closed", "positions_closed_elsewhere", "positions_left")]
    assert counts == [len(held) - 1, 1, 0]


async def test_a_flatten_whose_log_cannot_be_written_closes_all_positions(
    traded: DataDirectory,
) -> None:
    traded.flatten_log.mkdir()  # in the way of the file
    done = await flatten_all(settings(traded.path))
    assert done["positions_left"] == 0
    assert "could not be written" in done["log"]


async def test_a_flatten_of_a_venue_without_file_or_market_is_an_error(tmp_path: Path) -> None:
    of = settings(tmp_path)
    with pytest.raises(NotRunningError, match="no position is open"):
        await flatten_all(of)
    data_dir = DataDirectory(tmp_path)
    VenueStore(data_dir.exchange).close()
    with pytest.raises(NotRunningError, match="never traded on"):
        await flatten_all(of)


async def test_the_kill_switch_has_no_permit_for_an_entry() -> None:
    approved: Any = None  # no permit is ever looked at
    with pytest.raises(InvalidPermitError, match="opens no positions"):
        await flatten.NoPermits().consume(approved, "K1")
