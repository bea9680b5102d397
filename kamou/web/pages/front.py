"""``/``: what this is, and where the record is."""

from __future__ import annotations

from kamou.http.replies import HTML
from kamou.store import as_of, public_queries, queries
from kamou.web.pages.base import Ask, Page

DESCRIPTION = (
    "Kamou trades crypto perpetual futures by rule, writes down every decision before its outcome"
    " is known, and publishes every result."
)


def render(ask: Ask) -> Page:
    with public_queries.snapshot(ask.reader) as reader:
        latest = queries.latest(reader)
        counts = as_of.counts(reader, as_of.newest(reader))
    body = ask.templates.page(
        "front.html", title="Kamou", path="/", description=DESCRIPTION, latest=latest, counts=counts
    )
    return Page(body=body, media_type=HTML)
