"""A small demo for tests: few symbols, two days, a clock with a set date."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, TypeVar

import attrs
import httpx
import trio

from kamou.clock import SystemClock
from kamou.core.book.events import Event, FillRecorded, IntentRecorded
from kamou.core.book.position_book import PositionBook
from kamou.core.day import HOUR_MS
from kamou.core.kinds import MarketEdges
from kamou.core.model import OrderType
from kamou.core.record.gate import Gate
from kamou.core.risk.limits import VETOES_OF_BACKTESTS, VetoLimits
from kamou.core.strategies.mean_reversion import MeanReversionParameters
from kamou.data_directory.folder import DataDirectory, RunRecord
from kamou.runs.assumed_live import AssumedLiveGate
from kamou.runs.service import Service
from kamou.settings.config import DemoSettings, Resolved, Settings, WebSettings
from kamou.settings.strategies import StrategySettings
from kamou.store import database
from kamou.store.journal import read_events
from kamou.venue.state import VenueState
from kamou.venue.store import VenueStore

E = TypeVar("E", bound=Event)

NOW_MS = 1_767_312_000_000 + 12 * HOUR_MS  # a day in January 2026: the same market in every run
# Settings that find a setup in nearly every bar, so that two days have many trades.
EAGER = MeanReversionParameters(
    window=50, warmup=60, z_entry=1.0, rsi_low=40.0, rsi_high=60.0, adx_max=60.0, efficiency_max=0.6
)
WITHIN_S = 60.0  # far longer than any wait here


class SetClock(SystemClock):
    """The machine's clock, set to a date."""

    def __init__(self, at_ms: int = NOW_MS) -> None:
        super().__init__()
        self._ahead_ms = at_ms - super().now_ms()

    def now_ms(self) -> int:
        return super().now_ms() + self._ahead_ms


def settings(data_dir: Path, **changes: Any) -> Settings:
    """Return settings of a demo that trades; ``changes`` are groups of settings."""
    return attrs.evolve(
        Settings(
            data_dir=data_dir,
            demo=DemoSettings(seed=7, symbols=8, days=2, warmup_days=1, edges=MarketEdges.NONE),
            strategies=StrategySettings(
                enabled=("mean_reversion",),
                parameters={"mean_reversion": EAGER},
            ),
            veto=VetoLimits(enabled=VETOES_OF_BACKTESTS),  # a day of history shows no regime
            web=WebSettings(port=0, operator_port=0, site_nice=0),
        ),
        **changes,
    )


def resolved(of: Settings) -> Resolved:
    return Resolved(settings=of, origins={}, digest="")


@attrs.define(eq=False)
class Demo:
    """A service under test, with the requests that an operator can send."""

    service: Service
    said: list[str]
    listening: trio.Event

    @property
    def data_dir(self) -> DataDirectory:
        return self.service.data_dir

    def url(self, path: str, *, operator: bool = False) -> str:
        record = RunRecord.read(self.data_dir)
        assert record is not None
        return f"http://127.0.0.1:{record.operator_port if operator else record.port}{path}"

    async def get(self, path: str, *, operator: bool = False) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False, timeout=WITHIN_S) as http:
            return await http.get(self.url(path, operator=operator))

    async def command(self, verb: str, reason: str = "") -> httpx.Response:
        """Send ``halt``, ``resume`` or ``flatten``, as the command line does."""
        async with self._as_operator() as http:
            url = self.url(f"/api/v1/{verb}", operator=True)
            return await http.post(url, json={"reason": reason})

    async def status(self) -> dict[str, Any]:
        """Return the status from the operator's listener."""
        async with self._as_operator() as http:
            answer = await http.get(self.url("/api/v1/status", operator=True))
        return dict(answer.json())

    def _as_operator(self) -> httpx.AsyncClient:
        token = self.data_dir.token.read_text(encoding="ascii").strip()
        bearer = {"Authorization": f"Bearer {token}"}
        return httpx.AsyncClient(trust_env=False, timeout=WITHIN_S, headers=bearer)

    async def ready(self) -> None:
        """Wait until the service is recovered and reconciled."""
        while (await self.get("/readyz", operator=True)).status_code != 200:  # noqa: ASYNC110 - over HTTP
            await trio.sleep(0.02)


@asynccontextmanager
async def serving(
    of: Settings,
    *,
    now_ms: int = NOW_MS,
    fast_forward: bool = True,
    replay: Path | None = None,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
    gate: Gate | None = None,
) -> AsyncIterator[Demo]:
    """Run a service during the test; at the end stop it as SIGTERM does.

    Two days earn no size, so the gate is the assumed one unless the test gives another.
    """
    said: list[str] = []
    listening = trio.Event()

    def announce(line: str) -> None:
        said.append(line)
        if line.startswith("operator: "):
            listening.set()

    service = Service(
        settings=of,
        fast_forward=fast_forward,
        replay=replay,
        progress=progress,
        announce=announce,
        clock=SetClock(now_ms),
        gate=gate or AssumedLiveGate(),
    )
    with trio.fail_after(WITHIN_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(service.main)
            await listening.wait()
            yield Demo(service=service, said=said, listening=listening)
            nursery.cancel_scope.cancel()


async def trade_and_stop(of: Settings) -> None:
    """Run the history and a moment of real time, then stop with positions open."""
    async with serving(of) as demo:
        await demo.ready()
    assert venue(demo.data_dir).positions, "the market of this date ends with open positions"


def journal(data_dir: DataDirectory) -> list[Event]:
    """Return all committed events."""
    with closing(database.open_reader(data_dir.database)) as reader:
        return [committed.event for committed in read_events(reader, 0)]


def folded(events: list[Event]) -> PositionBook:
    book = PositionBook()
    book.apply_all(enumerate(events, 1))
    return book


def venue(data_dir: DataDirectory) -> VenueState:
    """Return the state in the embedded venue's own file."""
    with closing(VenueStore(data_dir.exchange)) as store:
        state = store.load()
    assert state is not None
    return state


def fills_of(data_dir: DataDirectory) -> set[str]:
    """Return the keys of all fills in the embedded venue's own file."""
    with closing(VenueStore(data_dir.exchange)) as store:
        return {fill.key for fill in store.fills(0)}


def of_kind(events: list[Event], kind: type[E]) -> list[E]:
    return [event for event in events if isinstance(event, kind)]


def run_table(data_dir: DataDirectory) -> list[tuple[int, str | None]]:
    """Return the run number and stop reason of every run."""
    with closing(database.open_reader(data_dir.database)) as reader:
        rows = reader.execute("SELECT run_number, stop_reason FROM run ORDER BY run_number")
        return [(row[0], row[1]) for row in rows]


def assert_same_book(data_dir: DataDirectory) -> None:
    """Assert that journal and venue agree: nothing lost, doubled or unprotected."""
    events, theirs = journal(data_dir), venue(data_dir)
    book = folded(events)
    held = {s: t.quantity * t.side.sign for s, t in book.trades.open.items() if t.quantity}
    assert held == {symbol: p.quantity for symbol, p in theirs.positions.items()}
    assert {e.fill.key for e in of_kind(events, FillRecorded)} == fills_of(data_dir)
    names = [e.intent.client_order_id for e in of_kind(events, IntentRecorded)]
    assert len(names) == len(set(names))
    for symbol, position in theirs.positions.items():
        stops = [o for o in theirs.live_orders(symbol) if o.request.type is OrderType.STOP_MARKET]
        assert sum(o.remaining for o in stops) >= abs(position.quantity), "not covered by its stop"
