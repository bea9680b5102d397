"""Points at every journal write and venue call where a process can be killed.

``hooked`` wraps the product's methods in this process only. A killed process leaves a note of the
events that the journal had acknowledged to it, in a file that outlives the process.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from kamou.core.book.events import IntentRecorded
from kamou.core.model import FillReport, Intent, OrderReport
from kamou.exchange.embedded import SimulatedExchange
from kamou.store import snapshots
from kamou.store.journal import JournalWriter
from kamou.venue.engine import Engine
from kamou.venue.store import VenueStore

BEGIN, INSIDE, AMID, DONE = "before BEGIN", "before COMMIT", "amid COMMIT", "after COMMIT"
SENT, ARRIVES, STORED = "sent", "before the engine", "stored, not answered"
FILLS_FORGOTTEN, STOPS_UNATTACHED = "fills-forgotten", "stops-unattached"
PHASES = (BEGIN, INSIDE, AMID, DONE, SENT, ARRIVES, STORED)
AMID_MAX_S = 0.0015  # about as long as a durable commit takes on a disk


@attrs.frozen
class Point:
    """A write or call of the run, and its phase, at which the process can be killed."""

    what: str  # what was being written or called
    phase: str

    def __str__(self) -> str:
        return f"{self.what}, {self.phase}"


@attrs.frozen(kw_only=True)
class Note:
    """Note of a killed process: the point, the time and what was acknowledged."""

    number: int
    what: str
    phase: str
    at_ms: int
    acknowledged_seq: int  # the newest event whose commit the journal had confirmed
    pending: int  # events being committed
    audit_records: int  # that the venue stored


def death_note(path: Path) -> Note:
    return Note(**json.loads(path.read_text(encoding="ascii")))


class Points:
    """Counter of the points of one process, which kills it at a chosen one."""

    def __init__(self, begin_ms: int, note: Path, kill_at: int = 0) -> None:
        self.begin_ms = begin_ms
        self.seen: list[Point] = []
        self.kill_at = kill_at
        self.acknowledged_seq = 0
        self.pending = 0
        self.audit_log = 0
        self.roles: dict[str, str] = {}  # of client order ids
        self.doing = "open"  # the request that the venue handles
        self.read_back_ms = 0  # when the venue's open orders were first read
        self._struck = False
        self._note = note

    def now_ms(self) -> int:
        return self.begin_ms + round(trio.current_time() * 1000)

    def reach(self, what: str, phase: str) -> None:
        """Count a point; kill the process at the chosen one."""
        if self._struck:
            threading.Event().wait()  # the timer will send SIGKILL
        self.seen.append(Point(what, phase))
        if len(self.seen) != self.kill_at:
            return
        self._leave_note(what, phase)
        if phase != AMID:
            os.kill(os.getpid(), signal.SIGKILL)
        self._struck = True
        draw = hashlib.sha256(f"{self.kill_at}:{what}".encode()).digest()
        delay_s = AMID_MAX_S * int.from_bytes(draw[:4], "big") / 2**32
        threading.Timer(delay_s, os.kill, (os.getpid(), signal.SIGKILL)).start()

    def _leave_note(self, what: str, phase: str) -> None:
        note = Note(
            number=len(self.seen),
            what=what,
            phase=phase,
            at_ms=self.now_ms(),
            acknowledged_seq=self.acknowledged_seq,
            pending=self.pending,
            audit_records=self.audit_log,
        )
        self._note.write_text(json.dumps(attrs.asdict(note)), encoding="ascii")

    def role(self, client_order_id: str) -> str:
        return self.roles.get(client_order_id, "?")

    def learn(self, events: Sequence[Any]) -> None:
        for event in events:
            if type(event) is IntentRecorded:
                self.roles[event.intent.client_order_id] = event.intent.role.value


def written(points: Points, events: Sequence[Any]) -> str:
    """Return the name of a batch: its event kinds, each once, with order roles."""
    names = []
    for event in events:
        name = type(event).__name__
        if type(event) is IntentRecorded:
            name += f" {event.intent.role.value}"
        elif client_order_id := getattr(event, "client_order_id", getattr(event, "fill", None)):
            client_order_id = getattr(client_order_id, "client_order_id", client_order_id)
            name += f" {points.role(client_order_id)}"
        names.append(name)
    return "journal " + (" + ".join(dict.fromkeys(names)) or "details")


def stored(points: Points, state: Any) -> str:
    """Return the name of a write of the venue: roles of its fills, income or orders."""
    fills = {points.role(fill.client_order_id) for fill in state.fills}
    moved = [f"fill {role}" for role in sorted(fills)]
    if state.income:
        moved.append("income")
    return f"venue {points.doing}: " + (" + ".join(moved) or "orders")


@contextmanager
def hooked(points: Points) -> Iterator[None]:
    """Count the points of every journal write and venue call in this block."""
    undo: list[tuple[Any, str, Any]] = []

    def wrap(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        before = vars(owner)[name]
        undo.append((owner, name, before))
        setattr(owner, name, make(before))

    _hook_journal(points, wrap)
    _hook_venue(points, wrap)
    try:
        yield
    finally:
        for owner, name, before in reversed(undo):
            setattr(owner, name, before)


def _hook_journal(points: Points, wrap: Callable[[Any, str, Any], None]) -> None:
    def append(plain: Any) -> Any:
        def append_encoded(self: JournalWriter, batch: Any, details: Any = ()) -> Any:
            events = [row.event for row in batch]
            points.learn(events)
            what = written(points, events)
            points.pending = len(events)
            points.reach(what, BEGIN)
            done = plain(self, batch, details)
            points.pending = 0
            points.acknowledged_seq = self.head_seq
            points.reach(what, DONE)
            return done

        return append_encoded

    def insert(plain: Any) -> Any:
        def inserted(self: JournalWriter, batch: Any, rows: Any) -> None:
            plain(self, batch, rows)
            what = written(points, [row.event for row in batch])
            points.reach(what, INSIDE)
            points.reach(what, AMID)

        return inserted

    def recover(plain: Any) -> Any:
        def recovered(self: JournalWriter) -> None:
            plain(self)
            points.acknowledged_seq = self.head_seq
            points.learn([committed.event for committed in self.read(0)])

        return recovered

    wrap(JournalWriter, "append_encoded", append)
    wrap(JournalWriter, "_insert", insert)
    wrap(JournalWriter, "recover", recover)
    wrap(JournalWriter, "save_snapshot", _around(points, "journal snapshot"))
    wrap(JournalWriter, "set_meta", _around(points, "journal meta"))
    wrap(snapshots, "insert_snapshot", _then(points, "journal snapshot"))


def _around(points: Points, what: str) -> Any:
    def make(plain: Any) -> Any:
        def wrapped(*args: Any, **named: Any) -> Any:
            points.reach(what, BEGIN)
            done = plain(*args, **named)
            points.reach(what, DONE)
            return done

        return wrapped

    return make


def _then(points: Points, what: str) -> Any:
    def make(plain: Any) -> Any:
        def wrapped(*args: Any, **named: Any) -> None:
            plain(*args, **named)
            points.reach(what, INSIDE)
            points.reach(what, AMID)

        return wrapped

    return make


def _hook_venue(points: Points, wrap: Callable[[Any, str, Any], None]) -> None:
    storing = ["venue made"]

    def save(plain: Any) -> Any:
        def saved(self: VenueStore, state: Any) -> None:
            storing.append(stored(points, state))
            points.reach(storing[-1], BEGIN)
            plain(self, state)
            points.audit_log = state.audit_log_before + len(state.audit_log)
            points.reach(storing.pop(), DONE)

        return saved

    def transaction(plain: Any) -> Any:
        @contextmanager
        def transacted(self: VenueStore) -> Iterator[Any]:
            with plain(self) as db:
                yield db
                points.reach(storing[-1], INSIDE)
                points.reach(storing[-1], AMID)

        return transacted

    def asked(verb: str) -> Any:
        def make(plain: Any) -> Any:
            def wrapped(self: Engine, subject: Any, *rest: Any) -> Any:
                name = subject if isinstance(subject, str) else subject.client_order_id
                points.doing = f"{verb} {points.role(name)}"
                points.reach(f"venue {points.doing}", ARRIVES)
                try:
                    answer = plain(self, subject, *rest)
                    points.reach(f"venue {points.doing}", STORED)
                    return answer
                finally:
                    points.doing = "advance"

            return wrapped

        return make

    def advance(plain: Any) -> Any:
        def advanced(self: Engine, to_ms: int) -> Any:
            points.doing = "advance"
            return plain(self, to_ms)

        return advanced

    wrap(VenueStore, "save", save)
    wrap(VenueStore, "_transaction", transaction)
    wrap(VenueStore, "touch", _around(points, "venue touch"))
    wrap(Engine, "place", asked("place"))
    wrap(Engine, "cancel", asked("cancel"))
    wrap(Engine, "advance", advance)


def adapter(points: Points, defect: str = "") -> type[SimulatedExchange]:
    """Return an exchange port with a point before each order or cancel arrives.

    The port notes the time of the first read of open orders. With a ``defect`` it forgets fills or
    attaches no stops, which the suite must find.
    """

    class Travelling(SimulatedExchange):
        async def _place(self, intent: Intent, attached: tuple[Intent, ...]) -> OrderReport:
            points.reach(f"venue place {intent.role.value}", SENT)
            return await super()._place(intent, () if defect == STOPS_UNATTACHED else attached)

        async def _cancel(self, client_order_id: str, symbol: str) -> None:
            points.reach(f"venue cancel {points.role(client_order_id)}", SENT)
            await super()._cancel(client_order_id, symbol)

        async def fills(self, since_ms: int) -> tuple[FillReport, ...]:
            found = await super().fills(since_ms)
            return () if defect == FILLS_FORGOTTEN else found

        async def open_orders(self) -> tuple[OrderReport, ...]:
            resting = await super().open_orders()
            points.read_back_ms = points.read_back_ms or points.now_ms()
            return resting

    return Travelling
