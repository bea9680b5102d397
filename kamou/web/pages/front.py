"""``/``: what this is, and where the record is."""

from __future__ import annotations

from kamou.http.replies import HTML
from kamou.store import queries
from kamou.web.pages.base import Ask, Page


def render(ask: Ask) -> Page:
    latest = queries.latest(ask.reader)
    counts = queries.counts(ask.reader)
    body = ask.templates.page("front.html", title="Kamou", latest=latest, counts=counts)
    return Page(body=body, media_type=HTML)
