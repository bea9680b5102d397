"""The kill switch, its log, and the number of positions in the venue's file.

The kill switch closes all positions without the run, its event loop or its database. It needs only
the venue, the data directory and, for a replay, its dataset. It works without the salt key too, and
uses the market on which the data directory was begun. On a full disk the venue stores no exit, and
the engine in memory is ahead of its file, so the result is read from the file.

``kamou flatten`` sets the halt latch first, so the port denies entries meanwhile. Each intent is
logged before its order if the log can be written, and the next ``run`` imports the log.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TypedDict

import attrs
import trio

from kamou import ids
from kamou.clock import Clock, SystemClock
from kamou.core.book.events import IntentRecorded, ReductionProved
from kamou.core.book.intents import IntentOrigin, PositionToClose, SaltOf, exit_intent
from kamou.core.model import Intent, OrderRole, OrderStatus, PositionReport, Side
from kamou.core.risk.verdict import Approved
from kamou.data_directory.folder import Announce, DataDirectory
from kamou.data_directory.private_files import create_file, give_to_directory_owner
from kamou.errors import ExchangeError, InvalidPermitError, StoreError
from kamou.exchange.base import ExchangePort
from kamou.messages.codec import decode, encode
from kamou.runs.session import random_key, salt_key
from kamou.runs.venue_without_journal import open_venue_without_journal
from kamou.settings.config import Resolved, Settings
from kamou.venue.state import VenueState
from kamou.venue.store import VenueStore

ATTEMPTS_MAX = 5  # attempts to close the positions that are still open
FLATTEN_PAUSE_S = 0.5  # between two attempts


@attrs.define(kw_only=True)
class FlattenLog:
    """The append-only log of the kill switch, one JSON object per line.

    Each line is synced to the disk before the command goes on, so an intent is logged before its
    order is sent. A line that cannot be written is counted and left out, because closing is more
    important and reconciliation finds every fill without it.
    """

    path: Path
    lost: int = 0  # lines that could not be written, such as on a full disk

    def add_intent(self, intent: Intent) -> None:
        self._append({"intent": encode(intent).decode()})

    def add_note(self, what: str, **figures: str) -> None:
        self._append({"note": what, **figures})

    def read_intents(self) -> tuple[Intent, ...]:
        """Return the logged intents, oldest first; a damaged line is left out.

        The start of a run needs the intents, so no line may fail the start; reconciliation finds
        the fills. A missing log has no intents.

        Raises:
            OSError: the log exists and cannot be read.
        """
        try:
            lines = self.path.read_bytes().splitlines()
        except FileNotFoundError:
            return ()
        found = []
        for line in lines:
            with contextlib.suppress(ValueError, RecursionError):
                entry = json.loads(line)
                body = entry.get("intent") if isinstance(entry, dict) else None
                if isinstance(body, str):
                    found.append(decode(Intent, body.encode()))
        return tuple(found)

    def _append(self, line: dict[str, str]) -> None:
        try:
            if create_file(self.path):
                give_to_directory_owner(self.path)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            self.lost += 1


class FlattenResult(TypedDict):
    """The result of the kill switch.

    The numbers of positions are those of the venue's file.
    """

    positions_found: int
    orders_canceled: int
    positions_closed: int  # by this process
    positions_closed_elsewhere: int  # closed otherwise, such as by a run or by their stops
    positions_left: int
    entries_left: int  # entries of Kamou that still rest
    log: str  # the path of the log, or the number of lines that could not be written


class NoPermits:
    """A permit store that denies every entry."""

    async def consume(self, _approved: Approved, _client_order_id: str) -> None:
        raise InvalidPermitError("HALT_LATCHED", "the kill switch opens no positions")


def count_venue_positions(resolved: Resolved, *, warn: Announce = lambda _line: None) -> int:
    """Return the number of positions in the venue's own file; 0 without a file.

    ``kamou flatten`` reports this number, whatever the run answers.

    Args:
        resolved: the settings, which name the data directory.
        warn: takes a line if the schema of the file was changed.

    Raises:
        StoreError: the file cannot be read.
    """
    return len(_open_symbols(_load_state(DataDirectory(resolved.settings.data_dir), warn)))


def _load_state(data_dir: DataDirectory, warn: Announce = lambda _line: None) -> VenueState | None:
    """Return the state in the venue's file; None without a file or a saved state."""
    if not data_dir.exchange.exists():
        return None
    reading = VenueStore(data_dir.exchange, read_only=True, on_changed_schema=warn)
    with contextlib.closing(reading) as store:
        return store.load()


def run(
    resolved: Resolved, *, clock: Clock | None = None, warn: Announce = lambda _line: None
) -> FlattenResult:
    """Cancel Kamou's entries, close all positions, then cancel Kamou's other orders.

    The exit orders only reduce. A position stays open after ``ATTEMPTS_MAX`` failed exits. Other
    orders, such as stops, are canceled only once the venue's file has no position.

    Args:
        resolved: the settings, which name the data directory.
        clock: the clock; None: that of the system.
        warn: takes a line about a changed schema or an exposed or unusable salt key, with which
            other verbs fail.

    Raises:
        NotRunningError: the data directory has no exchange, or no run has traded on it, so no
            position is open.
        ExchangeError: the venue did not answer a read; repeat the command. An order or a cancel
            that fails is not raised: see ``positions_left`` and ``entries_left``.
        InvalidDataError: the replayed dataset cannot be opened.
        StoreError: the venue's file cannot be opened.
    """
    return trio.run(_flatten, resolved.settings, clock or SystemClock(), warn)


async def _flatten(settings: Settings, clock: Clock, warn: Announce) -> FlattenResult:
    data_dir = DataDirectory(settings.data_dir)
    log = FlattenLog(path=data_dir.flatten_log)
    before = _load_state(data_dir)
    sent: list[Intent] = []
    with _open_port(settings, data_dir, log, clock, warn) as port:
        salt_of = partial(ids.derive_salt, _load_key(data_dir, warn))
        canceled = await _cancel_orders(port, log, entries_only=True)
        left = await _read_positions(port)
        for attempt in range(1, ATTEMPTS_MAX + 1):
            if not left:
                break
            for position in left:
                now_ms = await port.server_time_ms()
                intent = _closing_intent(position, attempt, now_ms, salt_of)
                await _send_close(port, log, intent)
                sent.append(intent)
            left = await _read_positions(port)
            if left:
                await trio.sleep(FLATTEN_PAUSE_S)
        # The file decides whether stops are canceled, because a venue's list may omit a position.
        if not _open_symbols(_load_state(data_dir)):
            canceled += await _cancel_orders(port, log, entries_only=False)
    return _report(data_dir, log, sent, canceled=canceled, found=_open_symbols(before))


def _report(
    data_dir: DataDirectory,
    log: FlattenLog,
    sent: list[Intent],
    *,
    canceled: int,
    found: frozenset[str],
) -> FlattenResult:
    """Read the result from the venue's file, log the positions left, and return it."""
    with contextlib.closing(VenueStore(data_dir.exchange, read_only=True)) as store:
        state = store.load()
        orders = [store.order(intent.client_order_id) for intent in sent]
    closed = {
        order.request.symbol
        for order in orders
        if order is not None and order.status is OrderStatus.FILLED
    }
    left = _open_symbols(state)
    closed -= left
    log.add_note("done", positions_left=str(len(left)))
    entries = (
        [] if state is None else [state.orders[client_order_id] for client_order_id in state.live]
    )
    return {
        "positions_found": len(found),
        "orders_canceled": canceled,
        "positions_closed": len(closed),
        "positions_closed_elsewhere": len(found - closed - left),
        "positions_left": len(left),
        "entries_left": sum(
            ids.is_kamou_id(order.request.client_order_id) and not order.request.reduce_only
            for order in entries
        ),
        "log": str(log.path) if not log.lost else f"{log.lost} lines could not be written",
    }


def _open_symbols(state: VenueState | None) -> frozenset[str]:
    """Return the symbols with a position; none without a state."""
    return frozenset(state.positions) if state is not None else frozenset()


def _load_key(data_dir: DataDirectory, warn: Announce) -> bytes:
    """Return the salt key, or a random key if it is missing or unusable.

    ``warn`` takes a line about an exposed or unusable key. A random key is enough, because it only
    makes new client order ids for the exit orders, and nobody verifies these ids later.
    """
    if data_dir.salt_key.exists():
        try:
            return salt_key(data_dir.salt_key, on_exposed=warn)
        except StoreError as error:
            warn(f"{error}; closing with a random key instead")
    return random_key()


async def _read_positions(port: ExchangePort) -> tuple[PositionReport, ...]:
    """Read the positions twice, and return those in either list.

    One read is not enough, because a venue's list may omit a position.

    Raises:
        ExchangeError: the venue did not answer.
    """
    positions = (*await port.positions(), *await port.positions())
    return tuple({position.symbol: position for position in positions}.values())


@contextlib.contextmanager
def _open_port(
    settings: Settings, data_dir: DataDirectory, log: FlattenLog, clock: Clock, warn: Announce
) -> Iterator[ExchangePort]:
    """Open the port of the venue, which a run may have open at the same time.

    The log gets a note of each proof that an order only reduces.
    """

    async def journal_proof(event: ReductionProved) -> None:
        log.add_note(
            "reduction_proved", client_order_id=event.client_order_id, position=str(event.position)
        )

    with open_venue_without_journal(
        settings, data_dir, clock, permits=NoPermits(), journal_proof=journal_proof, warn=warn
    ) as port:
        yield port


async def _cancel_orders(port: ExchangePort, log: FlattenLog, *, entries_only: bool) -> int:
    """Cancel Kamou's resting orders; return the number of cancels without an error.

    Args:
        port: the port of the venue.
        log: takes a note before each cancel.
        entries_only: leave orders that only reduce, such as stops.

    Raises:
        ExchangeError: the venue did not answer the read of the orders.
    """
    canceled = 0
    for order in await port.open_orders():
        if not ids.is_kamou_id(order.client_order_id) or (entries_only and order.reduce_only):
            continue
        log.add_note("cancel", client_order_id=order.client_order_id)
        with contextlib.suppress(ExchangeError):
            await port.cancel(order.client_order_id, order.symbol)
            canceled += 1
    return canceled


def _closing_intent(position: PositionReport, attempt: int, now_ms: int, salt_of: SaltOf) -> Intent:
    """Return the intent of a reduce-only market order for the whole position."""
    return exit_intent(
        OrderRole.EXIT,
        position=PositionToClose(
            trade_id=f"flatten.{now_ms}.{position.symbol}",
            symbol=position.symbol,
            side=Side.of(position.quantity),
            quantity=abs(position.quantity),
            leverage=position.leverage,
        ),
        origin=IntentOrigin(attempt=attempt, at_ms=now_ms, cause_id="flatten"),
        salt_of=salt_of,
    )


async def _send_close(port: ExchangePort, log: FlattenLog, intent: Intent) -> None:
    """Log the intent, send the order, and log the venue's error if it fails."""
    log.add_intent(intent)
    try:
        await port.reduce(intent)
    except ExchangeError as error:
        log.add_note("failed", client_order_id=intent.client_order_id, reason=str(error))


def read_logged_intents(data_dir: DataDirectory) -> tuple[IntentRecorded, ...]:
    """Return the kill switch's intents as events, for the journal of the next run.

    Raises:
        OSError: as ``FlattenLog.read_intents``.
    """
    log = FlattenLog(path=data_dir.flatten_log)
    return tuple(
        IntentRecorded(at_ms=intent.intended_at_ms, cause_id=intent.cause_id, intent=intent)
        for intent in log.read_intents()
    )
