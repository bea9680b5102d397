"""``CurrentRun``: reads and commands of the operator API on the current run."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Mapping, Sequence

import attrs
import trio

from kamou.actors.followers import BookFollower
from kamou.app import Tree
from kamou.clock import Clock, SystemClock
from kamou.core.book import position_status as positions
from kamou.core.book.events import Event
from kamou.core.book.position_book import PositionBook
from kamou.core.codes import StateReason
from kamou.core.model import TradingState
from kamou.core.plain import to_plain
from kamou.core.words import describe_state, state_cause, strategy_name
from kamou.data_directory.folder import RunRecord
from kamou.data_directory.latch import (
    HaltLatch,
    LatchAction,
    LatchRecord,
    asks_to_flatten,
    standing_records,
)
from kamou.errors import DiskFullError, KamouError, StoreError, TimedOutError
from kamou.http.traffic import Traffic
from kamou.messages.governor import DiskFull, Flatten, Halt, Resume
from kamou.operator.answers import CommandAnswer, RunStatus
from kamou.operator.phases import LATCHES_HALTS, RunPhase
from kamou.runs.announcer import Announcer
from kamou.runs.state_lines import DISABLED, NOT_TRADING, STALE
from kamou.runs.strategy_failures import StrategyFailures
from kamou.runtime.leveled_lines import error_line, warning_line
from kamou.runtime.loop_lag import LoopLag
from kamou.runtime.supervision_snapshots import NodeKind, TreeNode
from kamou.site.child import PublicSiteChild
from kamou.supervisor import Supervisor

ANSWER_S = 5.0  # the governor's deadline to act on a command
FOLLOW_S = 60.0  # between two folds; the events of a busy minute take under 10 ms of CPU
DISK_FULL = "the disk is full: entries are held and no event is journalled; free space on the disk"
DISK_HAS_SPACE = "the disk has space again; the waiting events are journalled"
RESUME = "`kamou resume` removes the latch"
LATCHED = f"the halt latch is set and holds entries, though the trading state allows them; {RESUME}"
LATCH_KEPT: CommandAnswer = {"latch": "set", "entries": "held", "next": RESUME}
MARKS_FRESH_MS = 1_000  # minimum age of mark prices that are read again
MARKS_S = 1.0  # the venue's deadline to answer; after it the older mark prices stay
POLL_S = 0.05  # between two checks; commands are rare


@attrs.define(eq=False)
class CurrentRun:
    """The run as the operator sees it: its phase, its supervision tree, its commands.

    A command raises ``KamouError`` if the run does not trade or its journal cannot be read, and
    ``TimedOutError`` if the governor does not take or answer it. A halt may set the latch instead.
    """

    phase: RunPhase = RunPhase.STARTING
    currency: str = "USDT"  # of the account
    operators: Supervisor | None = None  # of the operator's listeners
    traffic: Mapping[str, Traffic] = attrs.Factory(dict)  # of the operator's listeners
    site: PublicSiteChild | None = None
    supervisor: Supervisor | None = None  # of the tree that trades
    tree: Tree | None = None
    follower: BookFollower | None = None
    listens: RunRecord | None = None  # addresses of the site and of the operator's listeners
    lag: LoopLag | None = None  # of the trading loop; None before it trades
    disk_full: bool = False  # the journal cannot grow
    reconciled: bool = False  # book and venue agreed in the newest complete pass
    entries_held: bool = False  # by a halt or flatten; the exchange port then denies entries
    latch: HaltLatch | None = None  # of the data directory
    clock: Clock = attrs.Factory(SystemClock)
    marks: dict[str, positions.MarkRead] = attrs.Factory(dict)  # of the positions, by symbol
    marks_read_at_ms: int = 0
    announcer: Announcer | None = None  # of the tree that trades
    failures: StrategyFailures = attrs.Factory(StrategyFailures)

    async def show_tree(
        self, tree: Tree, supervisor: Supervisor, announce: Callable[[str], None]
    ) -> None:
        """Show the tree, warn of what limits trading, and have the halt latch enforced."""
        self.tree, self.supervisor = tree, supervisor
        self.announcer = Announcer(announce, self._book, self.currency)
        tree.journal.on_publish(self.announcer.announce_commit)
        follower = BookFollower(tree.journal)
        book = await follower.recover()
        self.follower = follower
        self.phase = RunPhase.TRADING
        if not book.trading.state.entries_allowed:
            cause = state_cause(book.trading.state, book.trading.reason or "")
            state = describe_state(book.trading.state, holding=bool(book.trades.open))
            announce(warning_line(f"trading state {state}, set before this start: {cause}"))
        for strategy in sorted(book.trading.disabled):
            announce(warning_line(DISABLED.format(strategy_name(strategy))))
        self._announce_damage(announce)
        self._enforce_latch(book)

    def _announce_damage(self, announce: Callable[[str], None]) -> None:
        """Announce the lines of the halt latch's log that cannot be read."""
        if self.latch is not None and (damaged := self.latch.damaged_lines()):
            numbers = ", ".join(map(str, damaged[:10])) + (", ..." if len(damaged) > 10 else "")
            path, lines = self.latch.log_path, "line" if len(damaged) == 1 else "lines"
            announce(warning_line(f"{lines} {numbers} of {path} cannot be read: check the file"))

    def _enforce_latch(self, book: PositionBook) -> None:
        """Let the governor journal a latch that is stricter than the trading state."""
        if self.tree is None or self.latch is None or not self.latch.is_set():
            return
        log = self.latch.log()
        closes = asks_to_flatten(log)
        asked = TradingState.FLATTENING if closes else TradingState.REDUCE_ONLY
        if book.trading.state.severity < asked.severity:
            stands = standing_records(log)
            note = stands[-1].reason if stands else ""
            halt = Halt(reason=StateReason.OPERATOR_HALT, note=note)
            flatten = Flatten(reason=StateReason.OPERATOR_FLATTEN, note=note)
            self.tree.governor.put_priority(flatten if closes else halt)

    async def follow(self) -> None:
        """Fold new events every ``FOLLOW_S``, so that a request folds few."""
        while True:
            await trio.sleep(FOLLOW_S)
            if self.follower is not None:
                with contextlib.suppress(sqlite3.Error):
                    await self.follower.follow()

    def set_disk_full(self, announce: Callable[[str], None], report: DiskFull) -> None:
        """Store whether the disk is full, and announce it."""
        self.disk_full = report.full
        announce(error_line(DISK_FULL) if report.full else DISK_HAS_SPACE)

    def set_reconciled(self, agreed: bool) -> None:  # noqa: FBT001  # the one value of a callback
        """Store whether book and venue agreed in the newest complete pass."""
        self.reconciled = agreed

    async def wait_for_agreement(self) -> None:
        """Wait until a reconciliation of the current tree has agreed with the venue."""
        while not self.reconciled:  # noqa: ASYNC110 - see POLL_S
            await trio.sleep(POLL_S)

    async def refresh_marks(self) -> None:
        """Read the mark prices of the positions, at most once in ``MARKS_FRESH_MS``.

        If the venue does not answer, the older marks stay, each with its time, and so do those of
        unsound quotes. If the clock was set back since the last read, the marks are read again.
        """
        book, now_ms = self._book(), self.clock.now_ms()
        age_ms = now_ms - self.marks_read_at_ms
        if book is None or self.tree is None or 0 <= age_ms < MARKS_FRESH_MS:
            return
        self.marks = {s: mark for s, mark in self.marks.items() if s in book.trades.open}
        if not book.trades.open:
            return
        self.marks_read_at_ms = now_ms
        with trio.move_on_after(MARKS_S), contextlib.suppress(KamouError):
            quotes = await self.tree.port.quotes(tuple(sorted(book.trades.open)))
            self.marks |= {
                symbol: positions.MarkRead(price=quote.mark, at_ms=quote.at_ms)
                for symbol, quote in quotes.items()
                if quote.sound
            }

    def snapshot(self) -> TreeNode:
        """Return the supervision trees of the run as plain data, below one node."""
        public = self.site.supervisor if self.site else None
        supervisors = (public, self.operators, self.supervisor)
        children = [each.snapshot().as_dict() for each in supervisors if each is not None]
        return {"id": "run", "kind": NodeKind.SUPERVISOR, "state": self.phase, "children": children}

    def status(self) -> RunStatus:
        """Return the account as plain data: money as decimal text, gauges as numbers.

        Without a tree or a readable journal the account is missing and ``state`` is None.
        """
        book, gathered = self._book(), self.tree.gathered if self.tree else None
        beside: RunStatus = {
            "site": self.site.health.as_dict() if self.site else None,
            "listeners": {name: each.as_numbers() for name, each in self.traffic.items()},
            "strategy_failures": self.failures.reports(),
            "order_flow": gathered.describe() if gathered else None,
        }
        if book is None:
            return {
                "phase": self.phase,
                "state": None,
                "disk_full": self.disk_full,
                "held": self.entries_held or self._is_latched(),
                "gauges": self._lag_gauges(),
                **beside,
            }
        return {
            "phase": self.phase,
            "state": book.trading.state,
            "state_reason": book.trading.reason or "",
            "disabled_strategies": sorted(book.trading.disabled),
            "state_since_ms": book.trading.since_ms or None,
            "equity": str(book.account.equity),
            "open_risk": str(book.account.open_risk),
            "at_ms": self.clock.now_ms(),
            "positions": [to_plain(row) for row in positions.describe_positions(book, self.marks)],
            "pending_entries": [to_plain(row) for row in positions.pending_entries(book)],
            **beside,
            "disk_full": self.disk_full,
            "held": self._is_halt_pending(book) or self._latch_blocks_entries(book),
            "gauges": {
                "disk_full": float(self.disk_full),
                "equity": float(book.account.equity),
                "wallet_balance": float(book.account.wallet_balance),
                "open_risk": float(book.account.open_risk),
                "open_positions": len(book.trades.open),
                "open_orders": len(book.orders.unsettled),
                "unprotected_positions": sum(
                    1 for t in book.trades.open.values() if t.unprotected_since_ms
                ),
                "journal_seq": book.seq,
                "equity_timestamp_seconds": book.account.marked_ms / 1000,
                "last_cycle_timestamp_seconds": book.reconciliation.cycle_at_ms / 1000,
                **self._lag_gauges(),
            },
        }

    def _is_halt_pending(self, book: PositionBook) -> bool:
        """Return ``entries_held``; first clear it if disk and trading state allow that."""
        if self.entries_held and not self.disk_full and not book.trading.state.entries_allowed:
            self.entries_held = False
        return self.entries_held

    def _is_latched(self) -> bool:
        return self.latch is not None and self.latch.is_set()

    def _latch_blocks_entries(self, book: PositionBook) -> bool:
        """Return True if the halt latch blocks entries that the trading state allows."""
        return book.trading.state.entries_allowed and self._is_latched()

    def _lag_gauges(self) -> dict[str, float]:
        return self.lag.gauges() if self.lag is not None else {}

    def not_ready(self) -> Sequence[str]:
        """Return the reasons why the run is not ready to trade; empty if it is ready."""
        book = self._book()
        reasons = [DISK_FULL] if self.disk_full else []
        if book is None or self.supervisor is None:
            return [*reasons, NOT_TRADING[self.phase]]
        if self._is_halt_pending(book):
            reasons.append("entries are held: a halt or flatten is not journalled yet")
        if self._latch_blocks_entries(book):
            reasons.append(LATCHED)
        if not self.supervisor.snapshot().is_running:
            reasons.append("the supervisor of trading is starting, stopping or stopped")
        if book.reconciliation.drifting:
            reasons.append(
                "the position book and the venue differ; no entry until a reconciliation agrees"
            )
        if not self.reconciled:
            reasons.append("the position book is not reconciled with the venue yet")
        if book.trading.reason == StateReason.EQUITY_UNKNOWN:
            reasons.append(STALE)
        reasons += [DISABLED.format(strategy_name(name)) for name in sorted(book.trading.disabled)]
        return reasons

    def _book(self) -> PositionBook | None:
        if self.follower is None:
            return None
        try:
            return self.follower.catch_up()
        except sqlite3.Error:
            return None

    def record_event(self, event: Event) -> bool:
        """Queue a site's event for the journal; return False if it is dropped.

        It is dropped if too many events wait for a full disk, or if no tree trades: during a
        fast-forward an event with the real time would make the next run skip simulated days.
        """
        if self.tree is None or self.phase is not RunPhase.TRADING:
            return False
        try:
            self.tree.journal.cast(event)
        except DiskFullError:
            return False
        return True

    def degraded(self) -> Sequence[str]:
        """Return the site's failures, which leave trading as it is; empty without one."""
        return self.site.health.degraded() if self.site else ()

    # --- commands ----------------------------------------------------------------

    async def halt(self, note: str) -> CommandAnswer:
        """Stop entries by the governor, or before and after trading by the halt latch.

        Raises ``StoreError`` if the latch cannot be set, else as ``_stop``.
        """
        if self.latch is not None and self.phase in LATCHES_HALTS:
            self.latch.set(note, "operator", self.clock.now_ms(), action=LatchAction.HALT)
            return LATCH_KEPT
        return await self._stop(Halt(reason=StateReason.OPERATOR_HALT, note=note))

    async def resume(self, note: str) -> CommandAnswer:
        """Ask the governor to resume; then remove a halt latch that a halt set.

        A latch stays if a flatten set it, if entries stay denied, if its log is unclear or changes,
        or if it cannot be removed; the answer says so. A halt that is not journalled yet stays
        while the disk is full. ``refused`` says why a resume was denied. Raises as ``_command``.
        """
        before = self.latch.log() if self.latch is not None else ()
        if self.announcer is not None:
            self.announcer.refusal = ""
        response = await self._command(Resume(note=note))
        if self.announcer is not None and self.announcer.refusal:
            response["refused"] = self.announcer.refusal
        self.entries_held = self.entries_held and self.disk_full
        return response | self._clear_halt(note, before, TradingState(response["state"]))

    def _clear_halt(
        self, note: str, before: Sequence[LatchRecord], state: TradingState
    ) -> CommandAnswer:
        """Remove a latch that a halt set before this resume, if ``state`` allows entries.

        Return the answer's fields about the latch. A newer line than ``before`` keeps the latch.
        """
        if self.latch is None or not self.latch.is_set():
            return {}
        only_halt = bool(standing_records(before)) and not asks_to_flatten(before)
        if not (state.entries_allowed and only_halt and self.latch.log() == before):
            return LATCH_KEPT
        try:
            self.latch.clear(note, "operator", self.clock.now_ms())
        except StoreError as error:
            return LATCH_KEPT | {"latch": f"set: {error}"}
        return {"latch": "removed"}

    async def flatten(self, note: str) -> CommandAnswer:
        """Flatten as ``_stop`` does; wait up to ``ANSWER_S`` until no trade is open."""
        response = await self._stop(Flatten(reason=StateReason.OPERATOR_FLATTEN, note=note))
        with trio.move_on_after(ANSWER_S):
            while (book := self._book()) is not None and book.trades.open:  # noqa: ASYNC110 - see POLL_S
                await trio.sleep(POLL_S)
        if self.announcer is not None:
            self.announcer.announce_remaining()
        book = self._book()
        return {**response, "positions_left": len(book.trades.open) if book else None}

    async def _stop(self, message: Halt | Flatten) -> CommandAnswer:
        """Hold entries at the exchange port, then send the governor the command.

        On a full disk the governor keeps the command and carries it out when the disk has space.
        The port holds entries meanwhile, and the answer has ``journalled: False``.

        Raises as ``_command``. If the run trades, the port holds entries all the same.
        """
        trading = self.tree is not None and self.phase is RunPhase.TRADING
        self.entries_held = self.entries_held or trading
        response = await self._command(message)
        asked = TradingState.REDUCE_ONLY if isinstance(message, Halt) else TradingState.FLATTENING
        journalled = TradingState(response["state"]).severity >= asked.severity
        self.entries_held = not journalled
        return {**response, "journalled": journalled, "entries": "held"}

    async def _command(self, message: Halt | Resume | Flatten) -> CommandAnswer:
        """Send a command by the governor's priority lane; return the response to it.

        Raises:
            KamouError: the run does not trade; or the governor has the command, and the journal
                cannot be read to see its effect.
            TimedOutError: the lane was full, or the governor did not answer in ``ANSWER_S``.
        """
        if self.tree is None or self.phase is not RunPhase.TRADING:
            raise KamouError(f"{NOT_TRADING[self.phase]}; `kamou status` shows its phase")
        governor = self.tree.governor
        if not governor.put_priority(message):
            raise TimedOutError(
                "the governor did not take the command, because its priority lane is full;"
                " repeat the command"
            )
        with trio.move_on_after(ANSWER_S):
            while governor.priority_pending:  # noqa: ASYNC110 - see POLL_S
                await trio.sleep(POLL_S)
            book = self._book()
            if book is None:
                raise KamouError(
                    "the governor has the command, but the journal cannot be read to see the"
                    " command's effect; check `kamou status`"
                )
            trading = book.trading
            response: CommandAnswer = {"state": trading.state, "reason": trading.reason or ""}
            if trading.disabled:
                response["disabled_strategies"] = sorted(trading.disabled)
            return response
        raise TimedOutError(
            f"the governor did not act on the command within {ANSWER_S:g} s; check `kamou status`,"
            " or use `kamou flatten`"
        )
