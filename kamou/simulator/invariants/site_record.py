"""Invariant 13, in the journal: failures and recoveries of the site are in pairs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from kamou.core.book.events import RunStarted
from kamou.core.book.site_events import SiteFailed, SiteRecovered
from kamou.store.journal import read_events


def find_site_event_errors(connection: sqlite3.Connection) -> Iterator[str]:
    """Yield the errors in the site's events of a journal.

    In every run failures and recoveries must alternate, and a recovery must have the time of its
    failure.
    """
    failed: SiteFailed | None = None
    for committed in read_events(connection, 0):
        event = committed.event
        if isinstance(event, RunStarted):
            failed = None
        elif isinstance(event, SiteFailed):
            if failed is not None:
                yield f"event {committed.seq}: a second failure without a recovery"
            failed = event
        elif isinstance(event, SiteRecovered):
            if failed is None or event.failed_at_ms != failed.at_ms:
                yield f"event {committed.seq}: a recovery without its failure"
            failed = None
