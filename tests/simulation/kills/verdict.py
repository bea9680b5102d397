"""Checks of the files of killed runs and of the run that continued them."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs

from kamou.core.book.events import (
    Event,
    IntentRecorded,
    RunStarted,
    RunStopped,
    StopConfirmed,
    TradeClosed,
)
from kamou.core.model import OrderRole
from kamou.data_directory.schema_check import schema_of
from kamou.store.journal import read_events
from kamou.venue import checker
from kamou.venue.engine import Engine
from kamou.venue.models import VenueModels
from kamou.venue.state import AuditRecord, FillAudit, OrderAudit, OrderStep
from kamou.venue.store import VenueStore
from tests.actors import scripted_market
from tests.actors.account_of import faults
from tests.actors.system_harness import SETTINGS, Ended, folded
from tests.simulation.kills.lives import until_minute
from tests.simulation.kills.points import AMID, DONE, Note

PROTECTED_WITHIN_MS = SETTINGS.risk.protection_deadline_s * 1000


@attrs.frozen(kw_only=True)
class Files:
    """The events and audit records in the files of one directory."""

    events: tuple[Event, ...]
    audit_log: tuple[AuditRecord, ...]
    sound: bool  # SQLite finds nothing wrong with either


def connected(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)


def files(folder: Path) -> Files:
    sound, events, audit_log = True, [], []
    for path in sorted(folder.glob("*.sqlite3")):
        with closing(connected(path)) as db:
            sound = sound and db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
            # A journal whose write-ahead log was lost may not even have its tables.
            tables = {part.name for part in schema_of(db)}
            if path.stem == "journal" and "event" in tables:
                events = [committed.event for committed in read_events(db, 0)]
    if (venue := folder / "venue.sqlite3").exists():
        with closing(VenueStore(venue)) as store:
            state = store.load()
            audit_log = list(store.audit_log(state.audit_log_before)) if state else []
    return Files(events=tuple(events), audit_log=tuple(audit_log), sound=sound)


def ended(folder: Path, states: dict[str, str], lives: Sequence[Life]) -> Ended:
    """Return the end of the run, read from its files by another process.

    ``lives`` is empty if entries carry their stops. Otherwise time without a live process, which
    cannot place a stop, does not count as unprotected.
    """

    def dead_ms(symbol: str, since_ms: int, until_ms: int) -> int:
        return until_ms - since_ms - living_ms(lives, since_ms, until_ms) if lives else 0

    found = files(folder)
    source = scripted_market.market()
    with closing(VenueStore(folder / "venue.sqlite3")) as store:
        models = VenueModels.from_settings(SETTINGS.exchange, SETTINGS.costs)
        engine = Engine(source, models, store, start_ms=0, wallet_balance=Decimal(0))
        account, positions = engine.account(), engine.positions()
        return Ended(
            events=found.events,
            book=folded(found.events),
            fills=engine.fills(0),
            income=engine.income(0),
            orders=engine.open_orders(),
            positions=positions,
            account=account,
            audit_log=engine.audit_log,
            checked=checker.check(
                engine.audit_log, account, positions, source.instruments, excused_ms=dead_ms
            ),
            exits=(),
            states=states,
            digest="",
        )


def after_a_kill(left: Files, note: Note, before: int = 0) -> Iterator[str]:
    """Yield an error if acknowledged events are missing or too many are stored.

    ``before``: the number of events that the process before had left. A process that goes on brings
    the venue to the present first. If it is killed then, it has not opened the journal, and its
    note counts none of these events. Damaged files and missing audit records are errors too.
    """
    if not left.sound:
        yield "the directory has a damaged file"
    head, told = len(left.events), max(note.acknowledged_seq, before)
    most = told + note.pending if note.phase in (AMID, DONE) else told
    if not told <= head <= most:
        yield f"{head} events are in the journal; {told} were acknowledged, {most} possible"
    if len(left.audit_log) < note.audit_records:
        yield f"the venue stored {note.audit_records} audit records and has {len(left.audit_log)}"


def between(before: Files, after: Files) -> Iterator[str]:
    """Yield an error if the later files do not begin with the earlier ones."""
    if after.events[: len(before.events)] != before.events:
        yield "the journal was rewritten"
    if after.audit_log[: len(before.audit_log)] != before.audit_log:
        yield "the venue's audit log was rewritten"
    kinds_before, kinds = (Counter(type(e) for e in f.events) for f in (before, after))
    if kinds[TradeClosed] < kinds_before[TradeClosed]:
        yield "there are fewer trades than before"


@attrs.frozen(kw_only=True)
class Life:
    """The time of one process, ms: ``ended_ms`` is its kill or its orderly end."""

    begin_ms: int
    ended_ms: int


def living_ms(lives: Sequence[Life], since_ms: int, until_ms: int) -> int:
    """Return the part of an interval in which a process was alive, ms."""
    return sum(
        max(0, min(life.ended_ms, until_ms) - max(life.begin_ms, since_ms)) for life in lives
    )


def _signals(play: Ended) -> Iterator[str]:
    """Yield an error if a symbol was entered more often than the script has signals."""
    names = {
        e.intent.client_order_id: e.intent.symbol
        for e in play.of(IntentRecorded)
        if e.intent.role is OrderRole.ENTRY
    }
    entered = Counter(
        names[noted.client_order_id]
        for noted in play.audit_log
        if isinstance(noted, OrderAudit)
        and noted.event is OrderStep.ACCEPTED
        and noted.client_order_id in names
    )
    said = Counter(line.symbol for lines in scripted_market.LINES.values() for line in lines)
    if entered - said:
        yield f"entered more often than there were signals: {entered - said}"


def spells(audit_log: Sequence[AuditRecord]) -> Iterator[tuple[str, int, int]]:
    """Yield symbol, start and end (0: open) of each position in the audit log."""
    held: dict[str, tuple[Decimal, int]] = {}
    for noted in audit_log:
        if not isinstance(noted, FillAudit):
            continue
        quantity, since_ms = held.get(noted.symbol, (Decimal(0), noted.at_ms))
        quantity += noted.side.sign * noted.quantity
        if quantity:
            held[noted.symbol] = (quantity, since_ms)
        else:
            held.pop(noted.symbol, None)
            yield noted.symbol, since_ms, noted.at_ms
    for symbol, (_, since_ms) in held.items():
        yield symbol, since_ms, 0


def _read_back(play: Ended, lives: Sequence[Life]) -> Iterator[str]:
    """Yield an error for each position without a confirmed stop or an end within the deadline."""
    confirmed = play.of(StopConfirmed)
    for symbol, since_ms, to_ms in spells(play.audit_log):
        to_ms = to_ms or lives[-1].ended_ms
        first_ms = min(
            (e.at_ms for e in confirmed if e.symbol == symbol and since_ms <= e.at_ms <= to_ms),
            default=to_ms,
        )
        if (bare_ms := living_ms(lives, since_ms, first_ms)) > PROTECTED_WITHIN_MS:
            yield f"{symbol} held since {since_ms}: no stop read back in {bare_ms} ms of running"


def after_recovery(
    folder: Path, lefts: Sequence[Files], lives: Sequence[Life], report: dict[str, Any]
) -> Iterator[str]:
    """Yield an error for each event, fill or stop that is lost, doubled or rewritten."""
    play = ended(folder, report["states"], lives if report["separate"] else ())
    last = lives[-1]
    yield from faults(play, until_minute=until_minute(last.begin_ms))
    yield from _signals(play)
    yield from _read_back(play, lives)
    after = files(folder)
    for number, left in enumerate((*lefts, after)):
        if not left.sound:
            yield f"directory {number} has a damaged file"
        yield from between(left, after)
    before = Counter(type(e) for e in lefts[-1].events)
    kinds = Counter(type(e) for e in after.events)
    for kind in (RunStarted, RunStopped):
        if kinds[kind] != before[kind] + 1:
            yield f"{kind.__name__}: {before[kind]} before, {kinds[kind]} after"
    held = any(to_ms == 0 for _, _, to_ms in spells(lefts[-1].audit_log))
    if held and not 0 <= report["read_back_ms"] - last.begin_ms <= PROTECTED_WITHIN_MS:
        yield (
            f"a process that started with a position at {last.begin_ms} first read the open orders"
            f" at {report['read_back_ms']} (0: never)"
        )
    yield from (f"crashed: {error}" for error in report["crashes"])
