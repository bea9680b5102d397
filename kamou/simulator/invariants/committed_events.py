"""Invariant 8: a kill or a power cut loses no committed event."""

from __future__ import annotations

import sqlite3

import attrs

from kamou.core.book import events as e
from kamou.messages.codec import encode
from kamou.simulator.invariants.observed import ReportViolation
from kamou.store.journal import Committed
from kamou.venue.violations import HardRule


@attrs.define
class CommittedEvents:
    """The newest committed event, which each later process must find."""

    report: ReportViolation
    head_seq: int = 0
    _head_body: bytes = b""

    def record(self, committed: Committed, body: bytes) -> None:
        """Record a committed event as the newest one."""
        self.head_seq, self._head_body = committed.seq, body

    def restore(self, seq: int, newest: e.Event) -> None:
        """Continue with a restored journal; the events that it does not have are not lost."""
        self.head_seq, self._head_body = seq, encode(newest)

    def check_recovery(self, connection: sqlite3.Connection, now_ms: int) -> None:
        """Check that a process finds every committed event in its database."""
        row = connection.execute("SELECT count(*), coalesce(max(seq), 0) FROM event").fetchone()
        if tuple(row) != (self.head_seq, self.head_seq):
            detail = f"{row[0]} events up to {row[1]} are stored, of {self.head_seq} committed"
            self.report(HardRule.LOST, now_ms, "", detail)
            self.head_seq = row[1]
            return
        if self.head_seq:
            (body,) = connection.execute(
                "SELECT body FROM event WHERE seq = ?", (self.head_seq,)
            ).fetchone()
            body = body.encode() if isinstance(body, str) else bytes(body)
            if body != self._head_body:
                detail = f"event {self.head_seq} differs from the committed one"
                self.report(HardRule.LOST, now_ms, "", detail)
