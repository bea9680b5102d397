"""The whole system in a test: every actor, the scripted market and simulated time."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import attrs
import trio

from kamou import ids
from kamou.app import SystemInputs, Tree, compose
from kamou.clock import JumpClock, SimulatedClock
from kamou.core import strategies
from kamou.core.book.candidate_events import (
    CandidatesVetoed,
    DeniedEntry,
    EntriesDenied,
    VetoedCandidate,
)
from kamou.core.book.events import Event, PermitDenied
from kamou.core.book.position_book import PositionBook
from kamou.core.day import MINUTE_MS
from kamou.core.kinds import RunMode
from kamou.core.model import Account, FillReport, Income, OrderReport, PositionReport
from kamou.core.record.gate import Gate
from kamou.core.refining.calls import AskModel
from kamou.core.risk.limits import VETOES_OF_BACKTESTS, RiskLimits, VetoLimits
from kamou.core.strategies.evaluation import StrategyFailure, raise_failure
from kamou.data_directory.folder import MEMORY
from kamou.exchange.embedded import SimulatedExchange
from kamou.runs.assumed_live import AssumedLiveGate
from kamou.runs.running import running
from kamou.runs.session import Session, SessionFiles, open_session
from kamou.runtime.determinism import seed_scheduler
from kamou.runtime.runners import run_inline
from kamou.runtime.supervision import ChildExit, ChildSpec, ExitKind, SupervisorSpec
from kamou.runtime.supervision_snapshots import SupervisorSnapshot
from kamou.settings.config import CycleSettings, Settings, StoreSettings
from kamou.settings.strategies import StrategySettings
from kamou.store import queries
from kamou.supervisor import Supervisor
from kamou.venue import checker
from kamou.venue.checker import CheckReport
from kamou.venue.state import AuditRecord
from tests.actors import scripted_market

E = TypeVar("E", bound=Event)

SETTINGS = Settings(
    mode=RunMode.BACKTEST,
    cycle=CycleSettings(period_s=60, timeframe_s=60, shards=2),
    strategies=StrategySettings(enabled=("scripted",)),
    store=StoreSettings(snapshot_every=40),  # so that a recovery begins at a snapshot
    # The price shock and the entries of an hour never limit the scripted trades.
    risk=RiskLimits(shock_move=scripted_market.D("0.01"), entries_per_strategy_hour=60),
    veto=VetoLimits(enabled=VETOES_OF_BACKTESTS),
)
FILES = Path(__file__).parent / "strategy_files"


@contextmanager
def strategy_files() -> Iterator[None]:
    """Add the directory of test strategies to the strategies of the product."""
    package = strategies.__name__
    before = set(sys.modules)
    strategies.__path__.append(str(FILES))
    try:
        yield
    finally:
        strategies.__path__.remove(str(FILES))
        for name in set(sys.modules) - before:
            if name.rpartition(".")[2] in ("scripted", "raising", "resting"):
                del sys.modules[name]
                vars(strategies).pop(name.removeprefix(f"{package}."), None)


@attrs.frozen(kw_only=True, eq=False)
class Harness:
    """Parts of the running system that a test's ``direct`` function may use."""

    tree: Tree
    session: Session
    clock: SimulatedClock
    supervisor: Supervisor

    @property
    def inputs(self) -> SystemInputs:
        return self.tree.inputs

    async def until(self, minute: float) -> None:
        await self.clock.sleep_until(at(minute))

    def push_events(self) -> None:
        """Let the venue's stream report the events since the last call of the port."""
        port = self.tree.port
        assert isinstance(port, SimulatedExchange)
        port._forward(self.session.engine.take_events())

    def book(self) -> PositionBook:
        """Return the position book as of the committed journal."""
        return folded([c.event for c in self.session.writer.read(0)])


@attrs.frozen(kw_only=True, eq=False)
class Ended:
    """Outcome of a run: the journal on one side, the venue on the other."""

    events: tuple[Event, ...]
    book: PositionBook
    fills: tuple[FillReport, ...]
    income: tuple[Income, ...]
    orders: tuple[OrderReport, ...]  # resting
    positions: tuple[PositionReport, ...]
    account: Account
    audit_log: tuple[AuditRecord, ...]
    checked: CheckReport
    exits: tuple[ChildExit, ...]
    states: dict[str, str]  # of the children, before the orderly stop
    digest: str
    failures: Sequence[StrategyFailure] = ()  # of strategies

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def vetoed(self) -> list[tuple[int, VetoedCandidate]]:
        """The vetoed candidates, each with the time of its event."""
        return [(e.at_ms, each) for e in self.of(CandidatesVetoed) for each in e.candidates]

    @property
    def denied(self) -> list[PermitDenied | DeniedEntry]:
        """The denied entries and orders, in the order of their events."""
        found: list[PermitDenied | DeniedEntry] = []
        for event in self.events:
            if isinstance(event, EntriesDenied):
                found += event.entries
            elif isinstance(event, PermitDenied):
                found.append(event)
        return found

    @property
    def crashes(self) -> list[ChildExit]:
        return [exit_ for exit_ in self.exits if exit_.kind is ExitKind.CRASHED]


Director = Callable[[Harness], Awaitable[None]]
Arrange = Callable[[Tree, SystemInputs], Tree]


async def nothing(harness: Harness) -> None:
    await trio.lowlevel.checkpoint()


def at(minute: float) -> int:
    return scripted_market.START_MS + round(minute * MINUTE_MS)


def folded(events: Sequence[Event]) -> PositionBook:
    book = PositionBook()
    book.apply_all(enumerate(events, 1))
    return book


def replaced(tree: Tree, child_id: str, start: Any, **changes: Any) -> Tree:
    """Return the tree with another ``start`` and ``changes`` for one child."""

    def in_spec(spec: SupervisorSpec) -> SupervisorSpec:
        children: list[ChildSpec | SupervisorSpec] = []
        for child in spec.children:
            if isinstance(child, SupervisorSpec):
                children.append(in_spec(child))
            elif child.id == child_id:
                children.append(attrs.evolve(child, start=start, **changes))
            else:
                children.append(child)
        return attrs.evolve(spec, children=tuple(children))

    return attrs.evolve(tree, spec=in_spec(tree.spec))


@contextmanager
def open_tree(
    data_dir: Path,
    *,
    settings: Settings = SETTINGS,
    venue_path: Path | str = MEMORY,
    adapter: Callable[..., SimulatedExchange] = SimulatedExchange,
    gate: Gate | None = None,
    halted: Callable[[], bool] = lambda: False,
    begin_ms: int = scripted_market.START_MS,
    keep_detail: bool = False,
    durable: bool = False,
    ask_model: AskModel | None = None,
    shadow_book: bool = False,
    on_strategy_failed: Callable[[StrategyFailure], None] = raise_failure,
) -> Iterator[tuple[Tree, Session]]:
    """Compose the system over the scripted market, its journal in ``data_dir``."""
    market = scripted_market.market()
    clock = SimulatedClock(start_ms=begin_ms)
    with open_session(
        settings=settings,
        files=SessionFiles(
            database=data_dir / "journal.sqlite3",
            venue=venue_path,
            durable=durable,
        ),
        source=market,
        clock=clock.now_ms,
        gate=(gate or AssumedLiveGate()).label,
    ) as session:
        inputs = SystemInputs(
            settings=settings,
            clock=clock,
            port=session.port(settings, adapter=adapter),
            market=market,
            writer=session.writer,
            reader=session.reader,
            runner=run_inline,
            gate=gate or AssumedLiveGate(),
            salt_of=partial(ids.derive_salt, b"s" * 32),
            halted=halted,
            step_ms=market.step_ms,
            keep_detail=keep_detail,
            ask_model=ask_model,
            shadow_book=shadow_book,
            on_strategy_failed=on_strategy_failed,
        )
        yield compose(inputs), session


def run_system(
    *,
    direct: Director = nothing,
    minutes: float = scripted_market.MINUTES,
    arrange: Arrange = lambda tree, inputs: tree,
    instruments: Sequence[trio.abc.Instrument] = (),
    seed: int = 0,
    data_dir: Path | None = None,
    settings: Settings = SETTINGS,
    adapter: Callable[..., SimulatedExchange] = SimulatedExchange,
    gate: Gate | None = None,
    halted: Callable[[], bool] = lambda: False,
    begin_ms: int = scripted_market.START_MS,
    keep_detail: bool = False,
    durable: bool = False,
    ask_model: AskModel | None = None,
    shadow_book: bool = False,
) -> Ended:
    """Run the scripted market until 20 s after ``minutes``, by default its last minute.

    With a ``data_dir``, journal and venue are files there, from which a second run can continue.
    """
    seed_scheduler(seed)
    failures: list[StrategyFailure] = []
    with strategy_files(), tempfile.TemporaryDirectory() as scratch:

        async def main() -> Ended:
            with open_tree(
                data_dir or Path(scratch),
                settings=settings,
                venue_path=data_dir / "venue.sqlite3" if data_dir else MEMORY,
                adapter=adapter,
                gate=gate,
                halted=halted,
                begin_ms=begin_ms,
                keep_detail=keep_detail,
                durable=durable,
                ask_model=ask_model,
                shadow_book=shadow_book,
                on_strategy_failed=failures.append,
            ) as (tree, session):
                ended = await _run(arrange(tree, tree.inputs), session, direct, minutes)
                return attrs.evolve(ended, failures=failures)

        return trio.run(main, clock=JumpClock(), instruments=list(instruments))


async def _run(tree: Tree, session: Session, direct: Director, minutes: float) -> Ended:
    clock = tree.inputs.clock
    assert isinstance(clock, SimulatedClock)
    exits: list[ChildExit] = []
    async with trio.open_nursery() as nursery:
        async with running(tree, on_exit=exits.append) as supervisor:
            harness = Harness(tree=tree, session=session, clock=clock, supervisor=supervisor)
            nursery.start_soon(direct, harness)
            await clock.sleep_until(at(minutes) + 20_000)
            states = dict(_states(supervisor.snapshot()))
        nursery.cancel_scope.cancel()
    engine = session.engine
    events = tuple(c.event for c in session.writer.read(0))
    return Ended(
        events=events,
        book=folded(events),
        fills=engine.fills(0),
        income=engine.income(0),
        orders=engine.open_orders(),
        positions=engine.positions(),
        account=engine.account(),
        audit_log=engine.audit_log,
        checked=checker.check(
            engine.audit_log, engine.account(), engine.positions(), engine.source.instruments
        ),
        exits=tuple(exits),
        states=states,
        digest=queries.journal_digest(session.reader),
    )


def _states(tree: SupervisorSnapshot) -> Iterator[tuple[str, str]]:
    for child in tree.children:
        yield child.id, child.state.value
        if child.nested is not None:
            yield from _states(child.nested)
