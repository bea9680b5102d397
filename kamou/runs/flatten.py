"""The kill switch: closes all positions without the run, its loop or its database.

It needs only the venue and the data directory. It also works without the salt key and with a full
disk, and uses the market on which the data directory was begun. Its result is read from the
venue's file, because on a full disk the engine in memory is ahead of the file.

``kamou flatten`` sets the halt latch first, so the port denies entries meanwhile. Each intent is
logged before its order, and the next ``run`` imports the log.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import trio

from kamou import ids
from kamou.clock import Clock, SystemClock
from kamou.core.book.events import IntentRecorded, ReductionProved
from kamou.core.book.intents import SaltOf, exit_intent
from kamou.core.model import Intent, OrderRole, OrderStatus, PositionReport, Side
from kamou.core.risk.verdict import Approved
from kamou.data_directory.folder import Announce, DataDirectory
from kamou.data_directory.private_files import create_file, give_to_folders_owner
from kamou.errors import ExchangeError, InvalidPermitError, StoreError
from kamou.exchange.base import ExchangePort
from kamou.messages.codec import decode, encode
from kamou.runs.session import chance_key, salt_key
from kamou.runs.venue_without_journal import open_venue_without_journal
from kamou.settings.config import Resolved, Settings
from kamou.venue.state import VenueState
from kamou.venue.store import VenueStore

ATTEMPTS_MAX = 5  # to close what is still open
FLATTEN_PAUSE_S = 0.5  # between attempts


@attrs.define(kw_only=True)
class FlattenLog:
    """Append-only log, synced before each order; one JSON object per line.

    A line that cannot be written is counted and left out, because closing is more important and
    reconciliation finds every fill without it.
    """

    path: Path
    lost: int = 0  # lines that could not be written: a full disk

    def intend(self, intent: Intent) -> None:
        self._append({"intent": encode(intent).decode()})

    def note(self, what: str, **figures: str) -> None:
        self._append({"note": what, **figures})

    def intents(self) -> tuple[Intent, ...]:
        """Return all logged intents, oldest first, without lines that a crash cut short."""
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return ()
        found = []
        for line in lines:
            with contextlib.suppress(ValueError):
                body = json.loads(line).get("intent")
                if body is not None:
                    found.append(decode(Intent, body.encode()))
        return tuple(found)

    def _append(self, line: dict[str, str]) -> None:
        try:
            if create_file(self.path):
                give_to_folders_owner(self.path)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            self.lost += 1


class NoPermits:
    """A permit store that denies every entry."""

    async def consume(self, approved: Approved, client_order_id: str) -> None:
        raise InvalidPermitError("HALT_LATCHED", "the kill switch opens no positions")


def positions_at_venue(resolved: Resolved, *, warn: Announce = lambda line: None) -> int:
    """Return the number of positions in the venue's own file.

    ``kamou flatten`` reports this figure, whatever the run answers. ``warn`` takes a line if the
    file's schema was changed.

    Raises:
        StoreError: the file cannot be read.
    """
    return len(_positions(_stored(DataDirectory(resolved.settings.data_dir), warn)))


def _stored(folder: DataDirectory, warn: Announce = lambda line: None) -> VenueState | None:
    """Return the state in the venue's file; None if there is no file."""
    if not folder.exchange.exists():
        return None
    reading = VenueStore(folder.exchange, read_only=True, on_changed_schema=warn)
    with contextlib.closing(reading) as store:
        return store.load()


def run(
    resolved: Resolved, *, clock: Clock | None = None, warn: Announce = lambda line: None
) -> dict[str, Any]:
    """Cancel entries, close every position reduce-only, then cancel the remaining orders.

    ``warn`` takes what makes other verbs fail: a changed schema, an exposed or unusable salt key.

    Returns ``positions_found``, ``orders_canceled``, ``positions_closed`` (by this process),
    ``positions_closed_elsewhere`` (by a run or by their stops),
    ``positions_left``, ``entries_left`` and the log's path. The numbers of positions are those of
    the venue's file.

    Raises:
        NotRunningError: the data directory has no exchange, so no position is open.
        ExchangeError: the venue rejected a request or did not answer; repeat the command.
        StoreError: the venue's file cannot be opened.
    """
    return trio.run(_flatten, resolved.settings, clock or SystemClock(), warn)


async def _flatten(settings: Settings, clock: Clock, warn: Announce) -> dict[str, Any]:
    folder = DataDirectory(settings.data_dir)
    log = FlattenLog(path=folder.flatten_log)
    before = _stored(folder)
    sent: list[Intent] = []
    with _venue(settings, folder, log, clock, warn) as port:
        salt_of = partial(ids.salt_for, _key(folder, warn))
        canceled = await _cancel(port, log, entries_only=True)
        left = await _held(port)
        for attempt in range(1, ATTEMPTS_MAX + 1):
            if not left:
                break
            for position in left:
                intent = _closing(position, attempt, await port.server_time_ms(), salt_of)
                await _close(port, log, intent)
                sent.append(intent)
            left = await _held(port)
            if left:
                await trio.sleep(FLATTEN_PAUSE_S)
        if not _positions(
            _stored(folder)
        ):  # by the file, because a venue's list may omit a position
            canceled += await _cancel(port, log, entries_only=False)
    return _report(folder, log, sent, canceled=canceled, found=_positions(before))


def _report(
    folder: DataDirectory,
    log: FlattenLog,
    sent: list[Intent],
    *,
    canceled: int,
    found: frozenset[str],
) -> dict[str, Any]:
    """Return the result, as read from the venue's file."""
    with contextlib.closing(VenueStore(folder.exchange, read_only=True)) as store:
        state = store.load()
        orders = [store.order(intent.client_order_id) for intent in sent]
    closed = {
        order.request.symbol
        for order in orders
        if order is not None and order.status is OrderStatus.FILLED
    }
    left = _positions(state)
    closed -= left
    log.note("done", positions_left=str(len(left)))
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
            ids.is_ours(order.request.client_order_id) and not order.request.reduce_only
            for order in entries
        ),
        "log": str(log.path) if not log.lost else f"{log.lost} lines could not be written",
    }


def _positions(state: VenueState | None) -> frozenset[str]:
    return frozenset(state.positions) if state is not None else frozenset()


def _key(folder: DataDirectory, warn: Announce) -> bytes:
    """Return the salt key, or a random one: closing needs new order ids, but no commitment."""
    if folder.salt_key.exists():
        try:
            return salt_key(folder.salt_key, on_exposed=warn)
        except StoreError as error:
            warn(f"{error}; closing with a random key instead")
    return chance_key()


async def _held(port: ExchangePort) -> tuple[PositionReport, ...]:
    """Return the positions of two reads together, because a venue's list may omit a position."""
    told = (*await port.positions(), *await port.positions())
    return tuple({position.symbol: position for position in told}.values())


@contextlib.contextmanager
def _venue(
    settings: Settings, folder: DataDirectory, log: FlattenLog, clock: Clock, warn: Announce
) -> Iterator[ExchangePort]:
    """Open the port of the venue, which a run may have open as well."""

    async def journal_proof(event: ReductionProved) -> None:
        log.note(
            "reduction_proved", client_order_id=event.client_order_id, position=str(event.position)
        )

    with open_venue_without_journal(
        settings, folder, clock, permits=NoPermits(), journal_proof=journal_proof, warn=warn
    ) as port:
        yield port


async def _cancel(port: ExchangePort, log: FlattenLog, *, entries_only: bool) -> int:
    """Cancel Kamou's resting orders; with ``entries_only`` its stops stay. Return how many."""
    canceled = 0
    for order in await port.open_orders():
        if not ids.is_ours(order.client_order_id) or (entries_only and order.reduce_only):
            continue
        log.note("cancel", client_order_id=order.client_order_id)
        with contextlib.suppress(ExchangeError):
            await port.cancel(order.client_order_id, order.symbol)
            canceled += 1
    return canceled


def _closing(position: PositionReport, attempt: int, now_ms: int, salt_of: SaltOf) -> Intent:
    """Return the intent of a reduce-only market order for the whole position."""
    return exit_intent(
        OrderRole.EXIT,
        trade_id=f"flatten.{now_ms}.{position.symbol}",
        symbol=position.symbol,
        side=Side.LONG if position.quantity > 0 else Side.SHORT,
        quantity=abs(position.quantity),
        leverage=position.leverage,
        attempt=attempt,
        now_ms=now_ms,
        cause_id="flatten",
        salt_of=salt_of,
    )


async def _close(port: ExchangePort, log: FlattenLog, intent: Intent) -> None:
    """Log the intent, then send the order."""
    log.intend(intent)
    try:
        await port.reduce(intent)
    except ExchangeError as error:
        log.note("refused", client_order_id=intent.client_order_id, reason=str(error))


def imported(folder: DataDirectory) -> tuple[IntentRecorded, ...]:
    """Return the kill switch's intents as events, for the journal of the next run."""
    log = FlattenLog(path=folder.flatten_log)
    return tuple(
        IntentRecorded(at_ms=intent.intended_at_ms, cause_id=intent.cause_id, intent=intent)
        for intent in log.intents()
    )
