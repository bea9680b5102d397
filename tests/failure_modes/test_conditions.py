"""A frozen feed, a ban of the venue, a locked database, a misread daily loss."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import trio

from kamou.actors.risk_governor import RiskGovernor
from kamou.core.book.events import IncomeRecorded
from kamou.core.codes import Deny
from kamou.core.day import MINUTE_MS, Day
from kamou.core.market.bars import Bars
from kamou.core.model import Account, Denial, Intent, OrderRole, Quote, TradingState
from kamou.core.risk.governor import Decision, EquityRead, EquityReads, next_state
from kamou.core.risk.limits import RiskLimits
from kamou.core.risk.pacing import TokenBucket
from kamou.errors import RateLimitedError, StoreError
from kamou.store import database
from kamou.store.journal import JournalWriter
from tests.actors.system_harness import SETTINGS, Ended, Harness, at
from tests.actors.trouble import LIMITED, UNANSWERED, Trouble
from tests.core.trading_cases import NOON, Story, income
from tests.failure_modes.harness import (
    HELD,
    D,
    Line,
    denied,
    entries,
    find_errors,
    play,
    select_errors,
)

APART = attrs.evolve(SETTINGS, exchange=attrs.evolve(SETTINGS.exchange, attached_stop=False))


# --- a frozen feed ---------------------------------------------------------------------------

FROZEN = 5.5  # minutes; signals come at six and eleven


class FrozenQuotes(Line):
    """A venue whose quotes stay those of one minute, with their time."""

    async def quotes(self, symbols: tuple[str, ...]) -> dict[str, Quote]:
        quotes = await super().quotes(symbols)
        return {s: attrs.evolve(q, at_ms=min(q.at_ms, at(FROZEN))) for s, q in quotes.items()}


class FrozenFeed(FrozenQuotes):
    """A venue whose quotes stay the same and whose bars end."""

    async def bars(self, period_ms: int, since_ms: int, until_ms: int) -> Bars:
        return await super().bars(period_ms, since_ms, min(until_ms, at(FROZEN)))


class StampsQuotes(FrozenQuotes):
    """Naive: the time of a quote is that of the call."""

    async def quotes(self, symbols: tuple[str, ...]) -> dict[str, Quote]:
        now_ms = self._clock.now_ms()
        quotes = await super().quotes(symbols)
        return {s: attrs.evolve(q, at_ms=now_ms) for s, q in quotes.items()}


class StampsBars(StampsQuotes, FrozenFeed):
    """Naive: without a new bar, the last one counts as new."""

    async def bars(self, period_ms: int, since_ms: int, until_ms: int) -> Bars:
        report = await Line.bars(self, period_ms, since_ms - MINUTE_MS, until_ms)
        known = np.minimum(np.arange(len(report.open_ms)), 0)
        if until_ms <= at(FROZEN) or not len(known):
            return report
        names = ("open", "high", "low", "close", "volume")
        return attrs.evolve(report, **{name: getattr(report, name)[known] for name in names})


@pytest.mark.parametrize(
    ("venue", "naive"), [(FrozenQuotes, StampsQuotes), (FrozenFeed, StampsBars)]
)
def test_entries_stop_while_the_feed_repeats_old_quotes(
    venue: type[Line], naive: type[Line]
) -> None:
    """Entries on a frozen feed: nofx#1107, passivbot_lighter#3."""
    ended = play(venue=venue)
    assert entries(ended, 0.0)
    assert entries(ended, FROZEN) == []
    assert ended.checked.violations == ()  # open positions keep their stops

    assert entries(play(venue=naive), FROZEN)


# --- HTTP status 429 (too many requests) -----------------------------------------------------

BURST, BURST_S = 30, 10.0  # more calls than 30 within 10 s prolong a ban
BAN_S = 90.0


@attrs.define
class Ban(Trouble):
    """A venue that bans an account for longer if it sends requests during the ban."""

    until_s: float = 0.0
    prolonged: int = 0
    calls: list[float] = attrs.Factory(list)

    def banned(self) -> bool:
        now_s = trio.current_time()
        if now_s >= self.until_s:
            return False
        self.calls = [s for s in self.calls if s > now_s - BURST_S] + [now_s]
        if len(self.calls) > BURST:
            self.prolonged += 1
            self.calls, self.until_s = [], now_s + BAN_S
        return True

    def read(self, name: str) -> None:
        if self.banned():
            raise RateLimitedError(f"{name}: 429")


class RetriesAtOnce(Line):
    """Naive: a rate-limited read is tried again up to 100 times, every 0.05 s."""

    async def account(self) -> Account:
        for _ in range(100):
            try:
                return await super().account()
            except RateLimitedError:
                await trio.sleep(0.05)
        return await super().account()


def test_a_ban_of_the_venue_is_not_prolonged_by_requests() -> None:
    """429 and ban: freqtrade#7187, ccxt#14639."""

    def run_case(venue: type[Line]) -> tuple[Ended, Ban]:
        ban = Ban()

        def fate(intent: Intent) -> str:
            if not ban.banned() and intent.role is OrderRole.ENTRY and intent.symbol == HELD:
                ban.until_s = trio.current_time() + BAN_S
                return UNANSWERED  # the worst moment: the outcome is unknown
            return LIMITED if ban.banned() else ""

        ban.fate = fate
        return play(ban, venue), ban

    ended, ban = run_case(Line)
    assert find_errors(ended) == []
    assert ban.calls
    assert ban.prolonged == 0

    assert run_case(RetriesAtOnce)[1].prolonged > 0


def test_stops_are_sent_although_entries_exceed_the_message_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """429 and ban, the messages of stops: freqtrade#7187, ccxt#14639."""
    scarce = attrs.evolve(APART, risk=attrs.evolve(APART.risk, messages_per_s=1))

    ended = play(settings=scarce)
    assert Deny.RATE_MESSAGES_EXCEEDED.value in denied(ended)
    assert find_errors(ended) == []

    # Naive: entries and stops share one budget of messages.
    def queued(self: RiskGovernor, intent: Intent) -> Denial | None:
        self._bucket = self._bucket.at(self.clock.now_ms())
        if self._bucket.tokens < 1:
            return Denial(code=Deny.RATE_MESSAGES_EXCEEDED.value)
        return original(self, intent)

    original = RiskGovernor._review_reduction
    monkeypatch.setattr(RiskGovernor, "_review_reduction", queued)
    monkeypatch.setattr(TokenBucket, "at", lambda self, now_ms: self)  # and it is never refilled
    assert select_errors(find_errors(play(settings=scarce)), "UNPROTECTED")


# --- a locked database -----------------------------------------------------------------------

OFTEN = attrs.evolve(SETTINGS, supervision=attrs.evolve(SETTINGS.supervision, intensity=50))
"""SQLite waits for seconds before it reports "locked"; here, on simulated time, it reports it at
once, so many more restarts fit into the same period."""


def test_a_reader_of_the_database_does_not_block_the_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A locked database: freqtrade#4653, freqtrade#6353."""
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 0)  # SQLite would wait in real time

    def run_case(data_dir: Path) -> list[str]:
        async def direct(harness: Harness) -> None:
            with closing(sqlite3.connect(data_dir / "journal.sqlite3", isolation_level=None)) as it:
                it.execute("BEGIN")
                it.execute("SELECT count(*) FROM event").fetchone()
                await harness.until(6)

        return find_errors(play(data_dir=data_dir, direct=direct, settings=OFTEN))

    assert run_case(tmp_path / "kamou") == []

    # Naive: SQLite without its write-ahead log.
    def plain(connection: sqlite3.Connection, *, durable: bool) -> None:
        connection.execute("PRAGMA journal_mode = DELETE")

    monkeypatch.setattr(database, "set_durable", plain)
    assert select_errors(run_case(tmp_path / "naive"), "database is locked")


def test_a_database_that_another_process_locks_loses_no_order_fill_or_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database locked by a writer: freqtrade#4653, freqtrade#6353."""
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 0)

    def run_case(data_dir: Path) -> list[str]:
        async def direct(harness: Harness) -> None:
            with closing(sqlite3.connect(data_dir / "journal.sqlite3", isolation_level=None)) as it:
                await harness.until(7.02)  # the time limit of the open position is due now
                it.execute("BEGIN IMMEDIATE")
                await harness.until(7.3)
                it.execute("ROLLBACK")

        found = find_errors(play(data_dir=data_dir, direct=direct, settings=OFTEN))
        # The journal and the actors that call it may crash; the supervisor restarts them.
        return [line for line in found if not line.startswith("crash")]

    assert run_case(tmp_path / "kamou") == []

    # Naive: a failed write is logged and ignored.
    def shrugs(self: JournalWriter, batch: Sequence[Any], details: Sequence[Any] = ()) -> Any:
        try:
            return original(self, batch, details)
        except StoreError:
            return ()

    original = JournalWriter.append_encoded
    monkeypatch.setattr(JournalWriter, "append_encoded", shrugs)
    assert select_errors(run_case(tmp_path / "naive"), "sent without an intent")


# --- a misread loss --------------------------------------------------------------------------

DAY_EQUITY, WITHDRAWN, REALISED, OPEN_PROFIT = D(10_000), D(-300), D(-250), D(171)
DOWN_079 = DAY_EQUITY + WITHDRAWN + REALISED + OPEN_PROFIT  # 0.79 % of the day's equity are lost
DOWN_200 = DAY_EQUITY + WITHDRAWN - D(200)


def reads_the_balance(day: Day) -> Decimal:
    return (OPEN_PROFIT - day.change) / day.equity_start


def takes_money_out_for_a_loss(day: Day) -> Decimal:
    return (day.equity_start - day.equity) / day.equity_start


def relates_it_to_the_margin(day: Day) -> Decimal:
    return -day.change / (day.equity_start / 5)


@pytest.mark.parametrize(
    "naive", [reads_the_balance, takes_money_out_for_a_loss, relates_it_to_the_margin]
)
def test_the_daily_loss_limit_reads_the_accounts_equity_and_shows_its_arithmetic(
    naive: Callable[[Day], Decimal], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit on the drawdown that misread the loss: freqtrade#11726 (at 0.79 %, not at 2 %)."""

    def judged(equity: Decimal) -> Decision:
        limits = RiskLimits(daily_loss_max=D("0.02"), reduced_at=D(1))
        story = Story()
        story.ready(str(DAY_EQUITY))
        story.say(IncomeRecorded(at_ms=NOON, income=income("transfer", str(WITHDRAWN))))
        pending = None
        for at_ms in (NOON, NOON + 5_000):
            read = EquityRead(equity=equity, at_ms=at_ms)
            reads = EquityReads(newest=read, pending=pending)
            report = next_state(story.book, reads, limits=limits, now_ms=at_ms)
            pending = report.pending
        return report

    assert judged(DOWN_079).after is TradingState.ACTIVE
    tripped = judged(DOWN_200)
    assert tripped.after is TradingState.REDUCE_ONLY
    assert {f.name: f.value for f in tripped.figures} == {
        "day_pnl": "-2.00%",
        "limit": "2.00%",
        "equity": "9500",
        "day_equity": "10000",
        "exit_costs": "0.00",
        "net_deposits": "-300",
    }

    monkeypatch.setattr(Day, "loss", property(naive))
    assert judged(DOWN_079).after is not TradingState.ACTIVE
