"""``JournalPermits``, which checks and consumes permits for the exchange port.

A permit is checked against its committed row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Protocol

from kamou.clock import Clock
from kamou.core.book.events import Event, PermitConsumed
from kamou.core.risk.verdict import Approved
from kamou.errors import DuplicateEventError, InvalidPermitError
from kamou.store import queries
from kamou.store.journal import Committed
from kamou.store.rows import PermitRow


class Commits(Protocol):
    """The method of the journal's client that ``JournalPermits`` calls."""

    async def commit(self, *events: Event) -> Sequence[Committed]:
        """Commit the events; they are durable when it returns."""
        ...


class JournalPermits:
    """The ``exchange.base.PermitStore`` of the journal.

    ``reader`` sees committed rows only, so a permit whose commit failed is unknown.
    """

    def __init__(self, *, journal: Commits, reader: sqlite3.Connection, clock: Clock) -> None:
        self._journal = journal
        self._reader = reader
        self._clock = clock

    async def consume(self, approved: Approved, client_order_id: str) -> None:
        """Commit that this order uses the permit; durable when it returns.

        Raises:
            InvalidPermitError: the permit has no committed row (``PERMIT_UNKNOWN``), differs from
                it (``PERMIT_MISMATCH``), was used before (``PERMIT_USED``), was released
                (``PERMIT_RELEASED``) or has expired (``PERMIT_EXPIRED``).
            DiskFullError, CallTimeoutError, CallUnavailableError: the use was perhaps not
                committed, so the order must not be sent.
        """
        permit_id = approved.permit_id
        row = queries.query_permit(self._reader, permit_id)
        if row is None:
            raise InvalidPermitError("PERMIT_UNKNOWN", f"{permit_id} has no committed row")
        now_ms = self._clock.now_ms()
        self._check(approved, row, now_ms)
        try:
            await self._journal.commit(
                PermitConsumed(
                    at_ms=now_ms,
                    cause_id=permit_id,
                    permit_id=permit_id,
                    client_order_id=client_order_id,
                )
            )
        except DuplicateEventError as error:
            raise InvalidPermitError("PERMIT_USED", f"{permit_id} was used before") from error

    def _check(self, approved: Approved, row: PermitRow, now_ms: int) -> None:
        permit_id = row.permit_id
        for field, claimed, committed in (
            ("symbol", approved.symbol, row.symbol),
            ("side", approved.side, row.side),
            ("quantity", approved.quantity_max, row.quantity),
            ("stop_price", approved.stop_price, row.stop_price),
            ("expires_at_ms", approved.expires_at_ms, row.expires_at_ms),
        ):
            if claimed != committed:
                raise InvalidPermitError(
                    "PERMIT_MISMATCH",
                    f"{permit_id}: {field} is {claimed}, the permit has {committed}",
                )
        if row.consumed_at_ms is not None:
            raise InvalidPermitError(
                "PERMIT_USED", f"{permit_id} was used by order {row.client_order_id}"
            )
        if row.released_at_ms is not None:
            raise InvalidPermitError(
                "PERMIT_RELEASED", f"{permit_id} was released: {row.release_reason}"
            )
        if now_ms >= row.expires_at_ms:
            raise InvalidPermitError(
                "PERMIT_EXPIRED", f"{permit_id} expired {now_ms - row.expires_at_ms} ms ago"
            )
