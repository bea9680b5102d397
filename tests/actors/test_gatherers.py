"""Gatherers hand each window over once: with the true figures, or unknown."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import attrs
import numpy as np
import pytest
import trio
from trio.testing import MockClock

from kamou.actors.exchange import ExchangeActor
from kamou.actors.gathered_flow import GatheredFlow, find_gathered_flow
from kamou.actors.order_flow import REOPEN_MS, SILENT_MS, make_gatherers
from kamou.actors.panel_loader import split_symbols
from kamou.clock import SimulatedClock
from kamou.core.arrays import Floats
from kamou.core.day import MINUTE_MS
from kamou.core.market.flow import FLOW_WINDOW_MS, FlowWindows
from kamou.core.market.flow_stream import FlowUpdates
from kamou.core.strategies import make_strategies
from kamou.data_directory.folder import MEMORY
from kamou.errors import UnreachableError
from kamou.exchange.base import Capabilities, PortChecks
from kamou.exchange.embedded import SimulatedExchange
from kamou.exchange.flow_streams import FlowStreams
from kamou.runtime.mailboxes import Mailbox
from kamou.runtime.runners import run_inline
from kamou.runtime.supervision import RestartStrategy, SupervisorSpec
from kamou.settings.config import load_settings
from kamou.supervisor import Supervisor
from kamou.venue.engine import Engine
from kamou.venue.market.generator import GeneratedMarket
from kamou.venue.models import VenueModels
from kamou.venue.store import VenueStore
from tests.actors import bars_port
from tests.exchange.port_fakes import Latch, Permits, Proofs

ORIGIN_MS = 1_735_689_600_000
START_MS = ORIGIN_MS + 7 * MINUTE_MS + 1_234  # inside the second window
LATE_MS = 1_000
MARKET = GeneratedMarket(seed=4, origin_ms=ORIGIN_MS, symbols=5, step_ms=60_000)
PARTS = split_symbols(MARKET.symbols, 2)


def window_end(window: int) -> int:
    """Return the end of the ``window``-th window from the one that contains the start on."""
    return ORIGIN_MS + (window + 2) * FLOW_WINDOW_MS


class TroubledStreams(FlowStreams):
    """Streams whose batches ``trouble`` may change, hold back or answer with a break."""

    trouble: Callable[[FlowUpdates], Sequence[FlowUpdates] | None] = staticmethod(lambda b: (b,))

    def change(self, _symbols: tuple[str, ...], batch: FlowUpdates) -> Sequence[FlowUpdates] | None:
        return self.trouble(batch)


@attrs.define
class Run:
    """A demo venue in simulated time, with the gatherers of its two shards."""

    clock: SimulatedClock
    port: SimulatedExchange
    streams: TroubledStreams
    gathered: GatheredFlow
    supervisor: Supervisor

    async def reach(self, window: int) -> None:
        """Wait until the window is handed over or late."""
        await self.clock.sleep_until(window_end(window) + LATE_MS + 1)

    def values(self, window: int) -> Floats:
        values: Floats = self.gathered._values[window_end(window)]
        return values


@asynccontextmanager
async def gathering(market: GeneratedMarket = MARKET) -> AsyncIterator[Run]:
    given_ = load_settings(None, {}).settings
    clock = SimulatedClock(start_ms=START_MS)
    models = VenueModels.from_settings(given_.exchange, given_.costs)
    engine = Engine(
        market, models, VenueStore(MEMORY), start_ms=START_MS, wallet_balance=Decimal(10_000)
    )
    commit = Proofs().commit
    checks = PortChecks(clock=clock, permits=Permits(), halted=Latch(), journal_proof=commit)
    port = SimulatedExchange(engine, checks)
    streams = port._flow_streams = TroubledStreams(market, run_inline)
    gathered = GatheredFlow(port, PARTS, 20)
    box: Mailbox[Any] = Mailbox("orders", 4, now_ms=clock.now_ms)
    actor = ExchangeActor(port=port, clock=clock, step_ms=60_000, orders=box, reconciler=box)
    spec = SupervisorSpec(
        id="shards",
        children=make_gatherers(gathered, port, clock, LATE_MS),
        strategy=RestartStrategy.ONE_FOR_ONE,
        intensity=3,
        period_s=600.0,
    )
    supervisor = Supervisor(spec)
    async with trio.open_nursery() as nursery:
        await nursery.start(actor.run)
        await nursery.start(supervisor.run)
        yield Run(clock, port, streams, gathered, supervisor)
        nursery.cancel_scope.cancel()


def assert_true_or_unknown(run: Run, first: int, last: int) -> None:
    """Assert that each figure of the windows is that of the generator, or unknown."""
    for window in range(first, last + 1):
        values = run.values(window)
        series = MARKET.flow_windows(window_end(window) - 1, window_end(window)).values[0]
        np.testing.assert_allclose(
            np.where(np.isnan(values), series, values)[:-1], series[:-1], rtol=1e-9, atol=1e-12
        )


def known(run: Run, window: int) -> list[bool]:
    """Return for each symbol whether the OFI is known."""
    return [bool(each) for each in np.isfinite(run.values(window)[0])]


async def test_the_gathered_windows_of_a_walked_stretch_are_the_generated_ones(
    autojump_clock: MockClock,
) -> None:
    async with gathering() as run:
        await run.reach(6)
        ends = [window_end(window) for window in range(7)]
        assert sorted(run.gathered._values) == ends
        assert known(run, 0) == [False] * 5  # the gatherers began inside of it
        assert_true_or_unknown(run, 1, 6)
        for window in range(1, 7):
            assert np.isfinite(run.values(window)).all()
        read = await run.gathered.flow_windows(window_end(1), window_end(3))
        assert read.end_ms.tolist() == [window_end(2), window_end(3)]
        assert read.symbols == MARKET.symbols
        np.testing.assert_array_equal(read.values[1], run.values(3))
        assert run.gathered.describe() == {
            "window_ms": window_end(6),
            "known": 5,
            "symbols": 5,
            "windows": 14,
            "streams": 2,
            "shards": 2,
            "breaks": 0,
        }


async def test_a_broken_stream_is_opened_again_and_loses_one_window(
    autojump_clock: MockClock,
) -> None:
    async with gathering() as run:
        await run.reach(1)
        await run.clock.sleep_until(window_end(1) + 2 * MINUTE_MS + 4_000)
        run.streams.trouble = lambda _batch: None  # the one after 5 s
        await run.clock.sleep_until(window_end(1) + 2 * MINUTE_MS + 5_500)
        assert run.gathered.describe()["streams"] == 0
        run.streams.trouble = lambda batch: (batch,)
        await run.clock.sleep_until(window_end(1) + 2 * MINUTE_MS + 5_500 + REOPEN_MS)
        assert run.gathered.describe()["streams"] == 2
        assert run.gathered.describe()["breaks"] == 2
        await run.reach(4)
        assert [known(run, window) for window in (1, 2, 3, 4)] == [
            [True] * 5,
            [False] * 5,
            [True] * 5,
            [True] * 5,
        ]
        assert_true_or_unknown(run, 1, 4)


async def test_a_silent_stream_is_replaced_after_half_a_minute(
    autojump_clock: MockClock,
) -> None:
    async with gathering() as run:
        await run.reach(1)
        run.streams.trouble = lambda _batch: ()
        await run.clock.sleep_until(window_end(1) + LATE_MS + SILENT_MS - 6_000)
        assert run.gathered.describe()["breaks"] == 0
        await run.clock.sleep_until(window_end(1) + LATE_MS + SILENT_MS + REOPEN_MS + 2)
        run.streams.trouble = lambda batch: (batch,)
        assert run.gathered.describe()["breaks"] == 2
        await run.reach(3)
        assert [any(known(run, window)) for window in (1, 2, 3)] == [True, False, True]
        assert_true_or_unknown(run, 1, 3)


async def test_windows_of_a_lagging_stream_are_unknown_and_handed_over_all_the_same(
    autojump_clock: MockClock,
) -> None:
    async with gathering() as run:
        await run.reach(1)
        held: list[FlowUpdates] = []

        def delay(batch: FlowUpdates) -> Sequence[FlowUpdates]:
            """Hold each batch of the two streams back until the next one."""
            held.append(batch)
            return (held.pop(0),) if len(held) > 2 else ()

        run.streams.trouble = delay
        await run.reach(4)
        assert known(run, 2) == known(run, 3) == [False] * 5
        assert run.gathered.describe()["windows"] == 10
        assert_true_or_unknown(run, 1, 4)


async def test_batches_in_a_wrong_order_make_their_window_unknown(
    autojump_clock: MockClock,
) -> None:
    async with gathering() as run:
        await run.reach(1)
        kept: dict[int, FlowUpdates] = {}

        def swap(batch: FlowUpdates) -> Sequence[FlowUpdates]:
            width = len(set(batch.quote_columns.tolist()))
            if width in kept:
                return (batch, kept.pop(width))
            kept[width] = batch
            return ()

        run.streams.trouble = swap
        await run.clock.sleep_until(window_end(1) + 30_000)
        run.streams.trouble = lambda batch: (batch,)
        await run.reach(4)
        assert [any(known(run, window)) for window in (2, 3, 4)] == [False, True, True]
        assert_true_or_unknown(run, 1, 4)


async def test_an_invalid_quote_costs_its_symbol_one_window(autojump_clock: MockClock) -> None:
    async with gathering() as run:
        await run.reach(1)

        def cross(batch: FlowUpdates) -> Sequence[FlowUpdates]:
            ask = np.where(batch.quote_columns[:, np.newaxis] == 0, 1e-9, batch.book.ask)
            return (attrs.evolve(batch, book=attrs.evolve(batch.book, ask=ask)),)

        run.streams.trouble = cross
        await run.clock.sleep_until(window_end(1) + 30_000)
        run.streams.trouble = lambda batch: (batch,)
        await run.reach(3)
        first = {part.columns.start for part in PARTS}  # each shard's first symbol
        assert known(run, 2) == [column not in first for column in range(5)]
        assert known(run, 3) == [True] * 5
        assert_true_or_unknown(run, 1, 3)


async def test_a_crashed_gatherer_is_restarted_and_loses_the_window_that_was_open(
    autojump_clock: MockClock,
) -> None:
    async with gathering() as run:
        await run.reach(1)
        broken = False

        def fail(batch: FlowUpdates) -> Sequence[FlowUpdates]:
            nonlocal broken
            if broken:
                return (batch,)
            broken = True
            wrong: Any = attrs.evolve(batch, quote_columns=batch.quote_columns + 99)
            return (wrong,)

        run.streams.trouble = fail
        await run.reach(4)
        children = run.supervisor.snapshot().as_dict()["children"]
        restarted = [child["restarts"] for child in children]
        assert sorted(restarted) == [0, 1]
        columns = PARTS[restarted.index(1)].columns
        lost = [column in range(5)[columns] for column in range(5)]
        assert known(run, 2) == [not each for each in lost]
        assert known(run, 3) == known(run, 4) == [True] * 5
        assert_true_or_unknown(run, 1, 4)


# --- what is kept --------------------------------------------------------------------------------


@attrs.define
class History:
    """A port with past windows, or without the capability to list them."""

    listed: bool = True
    asked: list[tuple[int, int]] = attrs.Factory(list)

    @property
    def capabilities(self) -> Capabilities:
        known = bars_port.Port().capabilities
        return attrs.evolve(known, flow_windows=self.listed, flow_stream=True)

    async def flow_windows(self, since_ms: int, until_ms: int) -> FlowWindows:
        assert self.listed, "the windows of a venue that lists none were read"
        self.asked.append((since_ms, until_ms))
        return MARKET.flow_windows(since_ms, until_ms)


def window_of(end_ms: int, width: int, value: float = 1.0) -> FlowWindows:
    return FlowWindows(
        symbols=("",) * width,
        end_ms=np.array([end_ms], dtype=np.int64),
        values=np.full((1, 7, width), value),
    )


@pytest.mark.parametrize("listed", [True, False])
async def test_windows_before_the_first_gathered_one_are_those_that_the_venue_lists(
    listed: bool,
) -> None:
    port: Any = History(listed)
    gathered = GatheredFlow(port, PARTS, 3)
    before = await gathered.flow_windows(ORIGIN_MS, window_end(0))
    assert before.end_ms.tolist() == ([window_end(-1), window_end(0)] if listed else [])
    gathered.put(1, window_of(window_end(1), 3))
    read = await gathered.flow_windows(ORIGIN_MS, window_end(1))
    assert read.end_ms.tolist()[-1] == window_end(1)
    assert len(read.end_ms) == (3 if listed else 1)
    assert np.isnan(read.values[-1, :, PARTS[0].columns]).all()  # its gatherer put none
    assert (read.values[-1, :, PARTS[1].columns] == 1).all()
    port.asked.clear()
    assert len((await gathered.flow_windows(window_end(0), window_end(1))).end_ms) == 1
    assert port.asked == []


async def test_a_window_is_put_once_and_the_oldest_are_dropped() -> None:
    port: Any = History(listed=False)
    gathered = GatheredFlow(port, PARTS, 3)
    for window in range(5):
        gathered.put(0, window_of(window_end(window), 2, float(window)))
        gathered.put(0, window_of(window_end(window), 2, 99.0))
        gathered.put(0, window_of(window_end(window - 1), 2, 99.0))
    read = await gathered.flow_windows(ORIGIN_MS, window_end(9))
    assert read.end_ms.tolist() == [window_end(window) for window in (2, 3, 4)]
    assert read.values[:, 0, 0].tolist() == [2.0, 3.0, 4.0]
    read.values[:] = 7.0
    again = await gathered.flow_windows(ORIGIN_MS, window_end(9))
    assert again.values[:, 0, 0].tolist() == [2.0, 3.0, 4.0]


@attrs.define
class Silent:
    """A port that does not answer."""

    capabilities: Capabilities = attrs.Factory(lambda: History().capabilities)

    async def flow_windows(self, _since_ms: int, _until_ms: int) -> FlowWindows:
        raise UnreachableError("silent")


async def test_the_error_of_a_venue_that_does_not_list_its_windows_reaches_the_reader() -> None:
    port: Any = Silent()
    with pytest.raises(UnreachableError):
        await GatheredFlow(port, PARTS, 3).flow_windows(ORIGIN_MS, window_end(0))


@pytest.mark.parametrize(
    ("names", "streams", "wanted", "gathers"),
    [
        (("order_flow",), True, True, True),
        (("order_flow",), False, True, False),
        (("order_flow",), True, False, False),
        (("mean_reversion",), True, True, False),
    ],
)
def test_order_flow_is_gathered_only_if_it_is_read_streamed_and_wanted(
    names: tuple[str, ...], streams: bool, wanted: bool, gathers: bool
) -> None:
    port: Any = Silent(attrs.evolve(bars_port.Port().capabilities, flow_stream=streams))
    chosen = make_strategies(names, {}, {}).values()
    found = find_gathered_flow(port, PARTS, chosen, wanted=wanted)
    assert (found is not None) == gathers
    clock: Any = None
    assert len(make_gatherers(found, port, clock, LATE_MS)) == (2 if gathers else 0)
