"""``/days`` and ``/api/v1/public/days``: pages of all days, newest first."""

from __future__ import annotations

import sqlite3
from datetime import date

import msgspec
from starlette.exceptions import HTTPException

from kamou.http.responses import HTML, JSON
from kamou.store import public_queries, queries
from kamou.store.day_rows import add_up_open_row
from kamou.web.documents import day_document
from kamou.web.pages.base import PageRequest, RenderedPage

PAGE_SIZE = 30  # rows: a month
LIMIT_MAX = 200  # rows of a document: 100 KB at most
PARAMETERS = ("before",)
JSON_PARAMETERS = ("before", "limit")
NO_DAY = "before must be a day such as 2025-10-10."
NO_LIMIT = f"limit must be a whole number from 1 to {LIMIT_MAX}."


def render(request: PageRequest) -> RenderedPage:
    """Return one page of days; the newest page begins with the open day, if any.

    Raises:
        HTTPException: 400 for a ``before`` that is not a day in the form YYYY-MM-DD.
    """
    before = _before(request)
    with public_queries.open_snapshot(request.reader) as reader:
        ended = queries.query_totals(reader)["days"]
        now = None if before else add_up_open_row(reader)
        found = public_queries.newest_days(reader, limit=PAGE_SIZE + 1, before=before)
        newer = _newer(reader, before)
    days, more = found[:PAGE_SIZE], len(found) > PAGE_SIZE
    body = request.templates.page(
        "days.html",
        title="Days",
        path="/days",
        description="Every UTC day of the record, losing days included: return, change in money,"
        " trades, fees and funding.",
        open_day=now,
        days=days,
        total=ended + (1 if before or now else 0),
        newer=newer,
        older=days[-1].day if more else None,
    )
    return RenderedPage(body=body, media_type=HTML)


def render_json(request: PageRequest) -> RenderedPage:
    """Return a page of days as JSON.

    ``next_before`` is the ``before`` of the next older page; null without one.

    Raises:
        HTTPException: 400 for a ``before`` that is not a day in the form YYYY-MM-DD, or a ``limit``
            that is not a whole number from 1 to ``LIMIT_MAX``.
    """
    before, limit = _before(request), _limit(request)
    with public_queries.open_snapshot(request.reader) as reader:
        now = None if before else add_up_open_row(reader)
        ended = limit - (now is not None)
        found = public_queries.newest_days(reader, limit=ended + 1, before=before)
        total = queries.query_totals(reader)["days"]
        days = ((now,) if now else ()) + found[:ended]
        marks = public_queries.midnight_marks(reader, days)
    document = {
        "mode": request.site.mode,
        "currency": request.site.currency,
        "as_of_ms": now.end_ms if now else None,
        "days": [day_document(day, marks) for day in days],
        "limit": limit,
        "next_before": days[-1].day if days and len(found) > ended else None,
        "ended_total": total,
    }
    return RenderedPage(body=msgspec.json.encode(document), media_type=JSON)


def _newer(reader: sqlite3.Connection, before: str | None) -> str | None:
    """Return ``before`` of the next newer page; empty if that is the newest page.

    Return None if ``before`` is None, because this page is the newest.
    """
    if before is None:
        return None
    return public_queries.find_later_day(reader, before, rows=PAGE_SIZE) or ""


def _before(request: PageRequest) -> str | None:
    given = request.query.get("before")
    if not given:
        return None
    try:
        day = date.fromisoformat(given)
    except ValueError:
        raise HTTPException(400, NO_DAY) from None
    if day.isoformat() != given:  # each day has only one spelling
        raise HTTPException(400, NO_DAY)
    return given


def _limit(request: PageRequest) -> int:
    given = request.query.get("limit") or str(PAGE_SIZE)
    if not (given.isascii() and given.isdigit() and len(given) < 5):
        raise HTTPException(400, NO_LIMIT)
    if not 1 <= int(given) <= LIMIT_MAX:
        raise HTTPException(400, NO_LIMIT)
    return int(given)
