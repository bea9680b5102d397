"""Facts digest of a run: a hash of its fills, payments, trades and violations.

The numbers of denials and vetoes are in the hash too. A refactoring that only renames symbols,
codes or kinds must keep the digest, so the hash has no symbol, code, kind or id, and the side of a
fill is the sign of its quantity. Each hashed line has the number of a section and the values of one
fact. Equal values have equal texts, whatever their number of decimal places.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from decimal import Decimal

from kamou.core.book.candidate_events import CandidatesVetoed, EntriesDenied
from kamou.core.book.events import PermitDenied
from kamou.messages.codec import kind_of
from kamou.venue.state import AuditRecord, FillAudit, MoneyAudit
from kamou.venue.violations import Violation

Value = int | float | Decimal | None

FILL, MONEY, TRADE, COUNTS, VIOLATION = range(1, 6)

_TRADES = """SELECT closed_at_ms, opened_at_ms, entry_price, exit_price, stop_price, quantity,
    contract_size, fees, funding, pnl_net, r_multiple FROM trade"""
_DENIALS = f"""SELECT
    (SELECT count(*) FROM event WHERE kind = '{kind_of(PermitDenied)}')
    + (SELECT coalesce(sum(json_array_length(CAST(body AS TEXT), '$.entries')), 0)
        FROM event WHERE kind = '{kind_of(EntriesDenied)}')"""
_VETOES = f"""SELECT coalesce(sum(json_array_length(CAST(body AS TEXT), '$.candidates')), 0)
    FROM event WHERE kind = '{kind_of(CandidatesVetoed)}'"""


def facts_digest(
    audit_log: Iterable[AuditRecord], reader: sqlite3.Connection, violations: Iterable[Violation]
) -> str:
    """Return the SHA-256, hex, of a run's facts.

    Args:
        audit_log: the venue's own records. Its fills and payments are hashed in this order; the
            opening balance is one of the payments.
        reader: a connection to the journal. Its trades are hashed, sorted by their values, of which
            the time of closing is the first; then the numbers of denials and vetoes.
        violations: the violations of hard rules. Their times are hashed in this order.
    """
    digest = hashlib.sha256()
    for values in _facts(audit_log, reader, violations):
        digest.update((" ".join(map(_text, values)) + "\n").encode())
    return digest.hexdigest()


def _facts(
    audit_log: Iterable[AuditRecord], reader: sqlite3.Connection, violations: Iterable[Violation]
) -> Iterator[tuple[Value, ...]]:
    """Yield the section and the values of each fact."""
    for record in audit_log:
        match record:
            case FillAudit():
                signed = record.side.sign * record.quantity
                yield FILL, record.at_ms, signed, record.price, record.fee
            case MoneyAudit():
                yield MONEY, record.at_ms, record.amount
    trades = [tuple(map(_number, row)) for row in reader.execute(_TRADES)]
    for trade in sorted(trades, key=_sort_key):
        yield TRADE, *trade
    # Of single plans and candidates, however many events they are in.
    yield COUNTS, *(reader.execute(query).fetchone()[0] for query in (_DENIALS, _VETOES))
    for violation in violations:
        yield VIOLATION, violation.at_ms


def _number(stored: int | float | str | None) -> Value:
    """Return a column's value, with decimal text converted to a ``Decimal``.

    Money, prices and quantities are stored as decimal text.
    """
    return Decimal(stored) if isinstance(stored, str) else stored


def _sort_key(trade: tuple[Value, ...]) -> tuple[str, ...]:
    return tuple(map(_text, trade))


def _text(value: Value) -> str:
    """Return an exact text of a value; ``-`` for None.

    The text is the same for the decimals 1.1 and 1.10, and for 0 and -0.
    """
    if not isinstance(value, Decimal):
        return "-" if value is None else repr(value)
    whole, _, rest = format(value, "f").partition(".")
    rest = rest.rstrip("0")
    text = f"{whole}.{rest}" if rest else whole
    return "0" if text == "-0" else text
