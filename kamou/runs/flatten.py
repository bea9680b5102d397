"""The kill switch: closes everything without the running system, its loop or its database.

It needs the venue and the data directory, nothing else. It closes without the salt key, without
room for its log, and with the market that the track was begun on. What it reports it reads from the
venue's file afterwards: on a full disk the engine in memory is ahead of the file.

The halt latch is set before it starts (by ``kamou flatten``), so no entry passes the port
meanwhile; what it does goes into its own log, intent before act, and the next ``run`` imports it.
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
from kamou.core.model import Intent, OrderRole, OrderStatus, Side, VenuePosition
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

ATTEMPTS_MAX = 5  # closes of what is still open
FLATTEN_PAUSE_S = 0.5  # between attempts


@attrs.define(kw_only=True)
class FlattenLog:
    """Append-only, fsynced before each act; one JSON object a line.

    A line that cannot be written is counted and left out: closing goes before telling, and
    reconciliation finds every fill without it.
    """

    path: Path
    lost: int = 0  # lines that could not be written: a full disk

    def intend(self, intent: Intent) -> None:
        self._append({"intent": encode(intent).decode()})

    def note(self, what: str, **figures: str) -> None:
        self._append({"note": what, **figures})

    def intents(self) -> tuple[Intent, ...]:
        """Everything ever intended, oldest first; a line cut short by a crash is left out."""
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
    """The kill switch may not enter anything: every permit is refused."""

    async def consume(self, approved: Approved, client_order_id: str) -> None:
        raise InvalidPermitError("HALT_LATCHED", "the kill switch opens no positions")


def positions_at_venue(resolved: Resolved, *, warn: Announce = lambda line: None) -> int:
    """Count the positions that stand in the venue's own file.

    Whatever a running system answers, this is the figure that ``kamou flatten`` reports. ``warn``
    is told if the file's schema was changed.

    Raises:
        StoreError: the file cannot be read.
    """
    return len(_positions(_stored(DataDirectory(resolved.settings.data_dir), warn)))


def _stored(folder: DataDirectory, warn: Announce = lambda line: None) -> VenueState | None:
    """What is open by the venue's file; None when nothing was ever traded there."""
    if not folder.exchange.exists():
        return None
    reading = VenueStore(folder.exchange, read_only=True, on_changed_schema=warn)
    with contextlib.closing(reading) as store:
        return store.load()


def run(
    resolved: Resolved, *, clock: Clock | None = None, warn: Announce = lambda line: None
) -> dict[str, Any]:
    """Cancel our entries, close every position reduce-only, then sweep what rests.

    ``warn`` is told what would stop any other verb: a changed schema, a salt key that is exposed
    or no key.

    Returns ``positions_found``, ``orders_canceled``, ``positions_closed`` (by this process),
    ``positions_closed_elsewhere`` (by a run that worked beside it, or by their stops),
    ``positions_left``, ``entries_left`` and the log's path. The figures of positions are the
    venue's file's.

    Raises:
        NotRunningError: there is no venue in this data directory: nothing to flatten.
        ExchangeError: the venue refused or did not answer; repeat the command.
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
        if not _positions(_stored(folder)):  # by the file: a list may leave a position out
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
    """What became of it by the venue's file."""
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
    """The salt key, or one by chance: closing needs names nobody has used, and no commitment."""
    if folder.salt_key.exists():
        try:
            return salt_key(folder.salt_key, on_exposed=warn)
        except StoreError as error:
            warn(f"{error}; closing under a key of this moment")
    return chance_key()


async def _held(port: ExchangePort) -> tuple[VenuePosition, ...]:
    """What either of two answers tells: a list that leaves a position out must not end its stop."""
    told = (*await port.positions(), *await port.positions())
    return tuple({position.symbol: position for position in told}.values())


@contextlib.contextmanager
def _venue(
    settings: Settings, folder: DataDirectory, log: FlattenLog, clock: Clock, warn: Announce
) -> Iterator[ExchangePort]:
    """The port of the venue, which two processes may share."""

    async def journal_proof(event: ReductionProved) -> None:
        log.note(
            "reduction_proved", client_order_id=event.client_order_id, position=str(event.position)
        )

    with open_venue_without_journal(
        settings, folder, clock, permits=NoPermits(), journal_proof=journal_proof, warn=warn
    ) as port:
        yield port


async def _cancel(port: ExchangePort, log: FlattenLog, *, entries_only: bool) -> int:
    """Cancel our resting orders; stops stay until there is nothing left that they protect."""
    canceled = 0
    for order in await port.open_orders():
        if not ids.is_ours(order.client_order_id) or (entries_only and order.reduce_only):
            continue
        log.note("cancel", client_order_id=order.client_order_id)
        with contextlib.suppress(ExchangeError):
            await port.cancel(order.client_order_id, order.symbol)
            canceled += 1
    return canceled


def _closing(position: VenuePosition, attempt: int, now_ms: int, salt_of: SaltOf) -> Intent:
    """One reduce-only market order for the whole position."""
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
    """Intent first, then the order."""
    log.intend(intent)
    try:
        await port.reduce(intent)
    except ExchangeError as error:
        log.note("refused", client_order_id=intent.client_order_id, reason=str(error))


def imported(folder: DataDirectory) -> tuple[IntentRecorded, ...]:
    """The kill switch's intents as events, for the journal of the run that comes after it."""
    log = FlattenLog(path=folder.flatten_log)
    return tuple(
        IntentRecorded(at_ms=intent.intended_at_ms, cause_id=intent.cause_id, intent=intent)
        for intent in log.intents()
    )
