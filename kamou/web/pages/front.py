"""``/``: what this is, and where the record is."""

from __future__ import annotations

from kamou.store import queries
from kamou.web.pages.base import Ask, Page
from kamou.web.replies import HTML


def render(ask: Ask) -> Page:
    latest = queries.latest(ask.reader)
    counts = queries.counts(ask.reader)
    body = ask.templates.page("front.html", title="Kamou", latest=latest, counts=counts)
    return Page(body=body, media_type=HTML)
