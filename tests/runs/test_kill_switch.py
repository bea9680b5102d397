"""``kamou flatten`` without a running system, and the run that comes after it."""

from __future__ import annotations

import json
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from small_demo import (
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
from store.market_files import HOUR_MS, bar_rows, write_parquet

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


async def kill(of: Settings, at_ms: int = NOW_MS + MINUTE_MS) -> dict[str, Any]:
    """As the command does it: the latch first, then everything else."""
    HaltLatch(DataDirectory(of.data_dir).latch).set("storm", "operator", at_ms)

    def run() -> dict[str, Any]:
        return flatten.run(resolved(of), clock=SetClock(at_ms))

    return await trio.to_thread.run_sync(run)


async def test_a_list_that_leaves_out_a_position_does_not_cost_it_its_stop(
    traded: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    of, folder = settings(traded.path), traded
    held = len(venue(folder).positions)
    real, asked = SimulatedExchange.positions, 0

    async def lies(self: SimulatedExchange) -> tuple[PositionReport, ...]:
        nonlocal asked
        asked += 1
        return () if asked == 1 else await real(self)

    monkeypatch.setattr(SimulatedExchange, "positions", lies)
    done = await kill(of)
    assert (done["positions_closed"], done["positions_left"]) == (held, 0)


async def test_stops_stay_while_the_venues_file_holds_positions_that_no_list_shows(
    traded: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    of, folder = settings(traded.path), traded
    held = len(venue(folder).positions)
    before = venue(folder)
    stops = {name for name in before.live if before.orders[name].request.trigger_price}

    async def shows_nothing(self: SimulatedExchange) -> tuple[PositionReport, ...]:
        return ()

    monkeypatch.setattr(SimulatedExchange, "positions", shows_nothing)
    done = await kill(of)
    assert (done["positions_closed"], done["positions_left"]) == (0, held)
    assert len(stops) >= held
    assert stops <= set(venue(folder).live)


async def test_it_closes_and_sweeps_everything_and_a_second_time_does_nothing(
    traded: DataDirectory,
) -> None:
    of, folder = settings(traded.path), traded
    held = len(venue(folder).positions)
    done = await kill(of)
    assert (done["positions_closed"], done["positions_left"]) == (held, 0)
    assert (done["positions_found"], done["positions_closed_elsewhere"]) == (held, 0)
    assert done["orders_canceled"] >= held, "their stops and targets"
    assert not venue(folder).positions
    assert not venue(folder).live
    fills = fills_of(folder)
    again = await kill(of)
    assert [again[k] for k in ("orders_canceled", "positions_closed", "positions_left")] == [0] * 3
    assert fills_of(folder) == fills


async def test_the_next_run_imports_its_log_once_is_flat_and_trades_after_two_resumes(
    traded: DataDirectory,
) -> None:
    of, folder = settings(traded.path), traded
    held = len(venue(folder).positions)
    await kill(of)
    # A crash cut its last line short.
    with folder.flatten_log.open("a") as log:
        log.write('{"intent": "{\\"cli')
    for minute in (2, 3):
        async with serving(of, now_ms=NOW_MS + minute * MINUTE_MS) as running:
            await running.ready()
            told = await running.status()
            assert (told["state"], told["state_reason"]) == ("flattening", "OPERATOR_FLATTEN")
        ours = [
            e.intent
            for e in of_kind(journal(folder), IntentRecorded)
            if e.intent.trade_id.startswith("flatten.")
        ]
        assert len(ours) == held, "once, however often it is started"
        assert_same_book(folder)
        assert not folded(journal(folder)).trades

    notes = [f.value for e in of_kind(journal(folder), StateChanged) for f in e.figures]
    assert notes == ["storm"], "the reason of the kill switch is journalled, once"
    HaltLatch(folder.latch).clear("over", "operator", NOW_MS + 7 * MINUTE_MS // 2)
    async with serving(of, now_ms=NOW_MS + 4 * MINUTE_MS) as running:
        await running.ready()
        changed = of_kind(journal(folder), StateChanged)[-1]
        assert (changed.after.value, changed.reason) == ("reduce_only", "OPERATOR_RESUME")
        assert [f.value for f in changed.figures] == ["over"], "the first resume is this one"
        assert (await running.command("resume")).json()["state"] == "active"


async def test_positions_of_a_replayed_market_are_closed_where_its_time_stands(
    tmp_path: Path,
) -> None:
    recorded = tmp_path / "recorded"
    rows = bar_rows(bars=300)
    write_parquet(recorded / "bars_1h.parquet", rows)
    now_ms = rows[-1]["ts"] + 2 * HOUR_MS
    of = settings(tmp_path / "data")
    of = attrs.evolve(of, demo=attrs.evolve(of.demo, days=6))
    async with serving(of, now_ms=now_ms, replay=recorded) as running:
        while not any("replay has ended" in line for line in running.said):  # noqa: ASYNC110 - told once
            await trio.sleep(0.01)
    folder = running.folder
    assert venue(folder).positions
    done = await kill(of, now_ms)
    assert done["positions_left"] == 0
    assert not venue(folder).positions


@attrs.frozen
class Refusing:
    """Stands in for ``SimulatedExchange.reduce``: says no, so many times."""

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


async def test_a_close_that_the_venue_refuses_is_tried_again_under_a_name_of_its_own(
    traded: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    of, folder = settings(traded.path), traded
    held = len(venue(folder).positions)
    Refusing(1).install(monkeypatch)
    done = await kill(of)
    assert (done["positions_closed"], done["positions_left"]) == (held, 0)
    intents = flatten.FlattenLog(path=folder.flatten_log).read_intents()
    assert len({i.client_order_id for i in intents}) == len(intents) == held + 1


async def test_what_cannot_be_closed_keeps_its_stop_and_is_told(
    traded: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    of, folder = settings(traded.path), traded
    held = len(venue(folder).positions)
    Refusing(1_000).install(monkeypatch)
    done = await kill(of)
    assert (done["positions_closed"], done["positions_left"]) == (0, held)
    assert_same_book(folder)
    notes = [json.loads(line).get("note") for line in folder.flatten_log.read_text().splitlines()]
    assert notes.count("refused") == flatten.ATTEMPTS_MAX * held
    assert notes[-1] == "done"


def at_the_venue(of: Settings, folder: DataDirectory, *requests: OrderRequest) -> None:
    """Place orders, as somebody else's process would, and let the market take them."""
    with closing(VenueStore(folder.exchange)) as store:
        track = demo.load_binding(store)
        assert track is not None
        source = demo.open_source(of, track, replay=None, now_ms=NOW_MS)
        models = VenueModels.from_settings(of.exchange, of.costs)
        engine = Engine(source, models, store, start_ms=NOW_MS, wallet_balance=of.equity)
        for request in requests:
            engine.place(request)
        engine.close()


@pytest.mark.parametrize("side", list(OrderSide))
async def test_longs_and_shorts_are_closed_to_the_last_contract(
    traded: DataDirectory, side: OrderSide
) -> None:
    of, folder = settings(traded.path), traded
    free = next(s for s in ("BTCUSDT", "ETHUSDT") if s not in venue(folder).positions)
    opened = OrderRequest(
        client_order_id="somebody-else",
        symbol=free,
        side=side,
        type=OrderType.MARKET,
        quantity=Decimal("0.01"),
        leverage=1,
    )
    at_the_venue(of, folder, opened)
    before = venue(folder).positions
    assert (before[free].quantity > 0) is (side is OrderSide.BUY)
    done = await kill(of)
    assert (done["positions_closed"], done["positions_left"]) == (len(before), 0)
    assert not venue(folder).positions
    # One market order each, of the whole size, against the side that was held.
    closes = {i.symbol: i for i in flatten.FlattenLog(path=folder.flatten_log).read_intents()}
    for symbol, held in before.items():
        close = closes[symbol]
        assert (close.quantity, close.reduce_only) == (abs(held.quantity), True)
        assert (close.side is OrderSide.SELL) is (held.quantity > 0)


async def test_entries_of_ours_are_canceled_first_and_orders_of_others_never(
    traded: DataDirectory,
) -> None:
    of, folder = settings(traded.path), traded
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
    at_the_venue(of, folder, *resting)
    done = await kill(of)
    assert list(venue(folder).live) == ["somebody-else"]
    assert done["entries_left"] == 0, "an entry of others is not counted"


async def test_a_position_that_opens_again_after_each_close_is_left_and_not_closed(
    traded: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    of, folder = settings(traded.path), traded
    held = sorted(venue(folder).positions)
    real = SimulatedExchange.reduce

    async def opens_again(port: SimulatedExchange, intent: Any, **more: Any) -> Any:
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

    monkeypatch.setattr(SimulatedExchange, "reduce", opens_again)
    monkeypatch.setattr(flatten, "FLATTEN_PAUSE_S", 0.0)
    done = await kill(of)
    told = [done[k] for k in ("positions_closed", "positions_closed_elsewhere", "positions_left")]
    assert told == [len(held) - 1, 0, 1]


async def test_a_position_is_closed_by_this_command_only_if_its_own_order_filled(
    traded: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An order that ended unfilled found the position gone: a stop was faster."""
    of, folder = settings(traded.path), traded
    held = sorted(venue(folder).positions)
    real = VenueStore.order

    def unfilled(self: VenueStore, client_order_id: str) -> WorkingOrder | None:
        order = real(self, client_order_id)
        if order is not None and order.request.symbol == held[0]:
            order.status = OrderStatus.CANCELED
        return order

    monkeypatch.setattr(VenueStore, "order", unfilled)
    done = await kill(of)
    told = [done[k] for k in ("positions_closed", "positions_closed_elsewhere", "positions_left")]
    assert told == [len(held) - 1, 1, 0]


async def test_a_log_that_cannot_be_written_keeps_nothing_open(traded: DataDirectory) -> None:
    traded.flatten_log.mkdir()  # in the way of the file
    done = await kill(settings(traded.path))
    assert done["positions_left"] == 0
    assert "could not be written" in done["log"]


async def test_a_folder_without_a_venue_has_nothing_to_flatten(tmp_path: Path) -> None:
    of = settings(tmp_path)
    with pytest.raises(NotRunningError, match="no position is open"):
        await kill(of)
    folder = DataDirectory(tmp_path)
    VenueStore(folder.exchange).close()
    with pytest.raises(NotRunningError, match="never traded on"):
        await kill(of)


async def test_the_kill_switch_opens_nothing() -> None:
    approved: Any = None  # no permit is ever looked at
    with pytest.raises(InvalidPermitError, match="opens no positions"):
        await flatten.NoPermits().consume(approved, "K1")
