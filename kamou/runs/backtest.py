"""``kamou backtest``: production actors over recorded data on a simulated clock."""

from __future__ import annotations

import hashlib
import resource
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import attrs
import trio

from kamou import ids
from kamou.app import SystemInputs, Tree, compose
from kamou.clock import JumpClock, SimulatedClock, SystemClock, next_ms
from kamou.core.day import DAY_MS, utc_day
from kamou.core.record.backtest_document import BacktestReport
from kamou.core.record.gate import Gate
from kamou.data_directory.folder import MEMORY
from kamou.errors import ConfigurationError, StoreError
from kamou.runs.assumed_live import AssumedLiveGate
from kamou.runs.backtest_options import ALL_DATA, BacktestOptions
from kamou.runs.backtest_report import FinishedBacktest, report_backtest
from kamou.runs.crash_stop import CrashStop
from kamou.runs.cycle_length import fit_to_bars
from kamou.runs.running import running
from kamou.runs.session import REPLAYED, Adapter, Inspect, Session, SessionFiles, open_session
from kamou.runs.strategy_failures import FailureStop
from kamou.runs.watching import UNWATCHED, Watch
from kamou.runtime.determinism import seed_scheduler
from kamou.runtime.heap import rare_collections
from kamou.runtime.runners import run_inline
from kamou.settings.config import Resolved, Settings
from kamou.store.importer import ReadOptions, open_market
from kamou.venue import checker
from kamou.venue.market.recorded import RecordedMarket

SCHEDULER_SEED = 0  # of Trio's scheduler, so that equal inputs give equal journals
LAST_ORDERS_MS = 60_000  # simulated time after the last cycle, for its orders to be answered


def run(
    resolved: Resolved,
    *,
    data: str,
    options: BacktestOptions = ALL_DATA,
    watch: Watch = UNWATCHED,
) -> BacktestReport:
    """Run the backtest and return its report.

    Args:
        resolved: the settings.
        data: the name of a dataset, or a directory of bars.
        options: time range, symbols, journal, and whether a failed strategy ends the backtest.
        watch: takes the progress, and may end the backtest early.

    Raises:
        StrategyFailedError: a strategy failed, and the options do not say to keep going.
        ActorCrashedError: an actor crashed.
        StoreError: the file ``journal`` exists or cannot be written.
        InvalidDataError: the data does not exist, fails its checks or lacks one of ``symbols``, or
            an instrument has impossible limits.
        ConfigurationError: the time range has no cycle, the timeframe does not fit the data, or a
            strategy is unknown.
    """
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    settings, journal = resolved.settings, options.journal
    if journal is not None and journal.exists():
        raise StoreError(f"{journal} exists; a backtest begins a new journal: name another file")
    market = open_market(
        settings.data_dir,
        data,
        now_ms=SystemClock().now_ms(),
        options=ReadOptions(limits=settings.data),
    )
    if options.symbols is not None:
        market = market.restrict(options.symbols)
    result = replay(
        settings,
        market,
        timerange=options.timerange,
        journal=journal,
        watch=watch,
        parts=ReplayParts(keep_going=options.keep_going),
    )
    usage = resource.getrusage(resource.RUSAGE_SELF)
    result["cpu_s"] = round(time.process_time() - began_cpu_s, 3)
    result["wall_s"] = round(time.perf_counter() - began_s, 3)
    result["peak_rss_mb"] = round(usage.ru_maxrss / 1024, 1)
    return result


@attrs.frozen(kw_only=True, eq=False)
class ReplayParts:
    """Parts of a replay that tests replace; the defaults are those of a backtest.

    ``gate`` counts every strategy as live. ``arrange`` returns the tree to run, given the composed
    one. ``adapter`` makes the port over the engine. ``inspect`` receives the engine after the tree
    has stopped. With ``keep_going``, failures of strategies are counted instead of stopping the
    replay.
    """

    gate: Gate = attrs.field(factory=AssumedLiveGate)
    arrange: Callable[[Tree], Tree] = lambda tree: tree
    adapter: Adapter = REPLAYED
    inspect: Inspect = lambda _engine: None
    keep_going: bool = False


BACKTEST_PARTS = ReplayParts()


def replay(
    settings: Settings,
    market: RecordedMarket,
    *,
    timerange: tuple[int | None, int | None] = (None, None),
    journal: Path | None = None,
    watch: Watch = UNWATCHED,
    parts: ReplayParts = BACKTEST_PARTS,
) -> BacktestReport:
    """Trade the recorded market within ``timerange``, and return the report.

    Args:
        settings: the settings; mode, cycle, vetoes and age limit of the account become those of a
            backtest.
        market: the recorded market.
        timerange: first instant and end, ms since 1970 in UTC; None: as far as the data goes.
        journal: a new file that keeps the journal; None: a temporary file.
        watch: takes the progress, and may end the backtest early.
        parts: the parts that tests replace.

    Raises:
        StrategyFailedError, ActorCrashedError, StoreError, ConfigurationError: as ``run``.
        InvalidDataError: an instrument has impossible limits.
    """
    settings = _choose_vetoes(fit_to_bars(settings, market.step_ms))
    start_ms, end_ms = _traded_range(market, timerange, settings.cycle.period_s * 1000)
    seed_scheduler(SCHEDULER_SEED)
    clock = SimulatedClock(start_ms=start_ms)
    failures, crashes = FailureStop(keep_going=parts.keep_going), CrashStop()
    with tempfile.TemporaryDirectory(prefix="kamou-backtest-") as data_dir:

        async def main() -> BacktestReport:
            with open_session(
                settings=settings,
                files=SessionFiles(
                    database=journal or Path(data_dir) / "journal.sqlite3",
                    venue=MEMORY,
                    durable=False,  # after a power cut the backtest is run again
                ),
                source=market,
                clock=clock.now_ms,
                gate=parts.gate.label,
            ) as session:
                until_end = trio.CancelScope()
                tree = compose(
                    _inputs(session, settings, market, clock, parts, failures),
                    on_cycle=_follow_cycles(watch, start_ms, end_ms, until_end.cancel),
                )
                async with running(parts.arrange(tree), on_exit=crashes.record_exit):
                    with crashes.scope, failures.scope, until_end:
                        await clock.sleep_until(end_ms + LAST_ORDERS_MS)
                crashes.raise_first()
                failures.raise_first()
                parts.inspect(session.engine)
                stopped = until_end.cancelled_caught
                span = (start_ms, end_ms)
                return _report(session, market, settings, failures, span, interrupted=stopped)

        with rare_collections():
            return trio.run(main, clock=JumpClock())


def _choose_vetoes(settings: Settings) -> Settings:
    """Return the settings with the vetoes of a backtest instead of those of a run."""
    veto = attrs.evolve(settings.veto, enabled=settings.veto.backtest)
    return attrs.evolve(settings, veto=veto)


def _report(
    session: Session,
    market: RecordedMarket,
    settings: Settings,
    failures: FailureStop,
    span: tuple[int, int],
    *,
    interrupted: bool,
) -> BacktestReport:
    """Return the report after the tree has stopped.

    ``span`` is what ``_traded_range`` returned; an interrupted backtest ended earlier.
    """
    engine = session.engine
    audit_log = engine.audit_log
    checked = checker.check(audit_log, engine.account(), engine.positions(), market.instruments)
    return report_backtest(
        FinishedBacktest(
            reader=session.reader,
            market=market,
            audit_log=audit_log,
            checked=checked,
            settings=settings,
            from_ms=span[0],
            until_ms=span[1],
            interrupted=interrupted,
            strategy_failures=failures.counted.reports(),
        )
    )


def _traded_range(
    market: RecordedMarket, timerange: tuple[int | None, int | None], cycle_ms: int
) -> tuple[int, int]:
    """Return the first cycle and the end of the traded time, ms since 1970 in UTC.

    Raises:
        ConfigurationError: the time range has no cycle.
    """
    since_ms, until_ms = timerange
    start_ms = next_ms(max(market.first_ms, since_ms or 0) - 1, cycle_ms)
    end_ms = min(market.last_ms, until_ms or market.last_ms)
    if start_ms >= end_ms:
        raise ConfigurationError(_describe_empty_range(market, timerange))
    return start_ms, end_ms


def _describe_empty_range(market: RecordedMarket, timerange: tuple[int | None, int | None]) -> str:
    """Return the error's text: the requested range, the data's range, and a valid one."""
    first, last = (utc_day(at_ms) for at_ms in (market.first_ms, market.last_ms))
    asked = "-".join("" if at_ms is None else _format_day(at_ms) for at_ms in timerange)
    after = _format_day(market.last_ms + DAY_MS)
    return (
        f"the time range {asked} holds no cycle of this data, which covers {first} to {last}; "
        f"pass --timerange {_format_day(market.first_ms)}-{after}, or a part of it"
    )


def _format_day(at_ms: int) -> str:
    """Return a UTC day as ``--timerange`` takes it, such as ``20251010``."""
    return utc_day(at_ms).replace("-", "")


def _inputs(
    session: Session,
    settings: Settings,
    market: RecordedMarket,
    clock: SimulatedClock,
    parts: ReplayParts,
    failures: FailureStop,
) -> SystemInputs:
    """Return the inputs of the tree that trades the session's venue."""
    return SystemInputs(
        settings=settings,
        clock=clock,
        port=session.port(settings, adapter=parts.adapter),
        market=market,
        writer=session.writer,
        reader=session.reader,
        runner=run_inline,
        gate=parts.gate,
        salt_of=partial(ids.derive_salt, hashlib.sha256(b"kamou-backtest").digest()),
        halted=lambda: False,
        step_ms=market.step_ms,
        # Another adapter may change what is read, so recorded scores would be of other data.
        recorded=market if parts.adapter is REPLAYED else None,
        on_strategy_failed=failures.record,
    )


def _follow_cycles(
    watch: Watch, start_ms: int, end_ms: int, stop: Callable[[], None]
) -> Callable[[int], None]:
    """Return a function that reports the simulated days at each cycle.

    It calls ``stop`` if the watch wants the backtest to end.
    """
    total = (end_ms - start_ms) // DAY_MS or 1

    def on_cycle(cycle_at_ms: int) -> None:
        watch.progress("days", (cycle_at_ms - start_ms) // DAY_MS, total)
        if watch.is_stopping():
            stop()

    return on_cycle
