"""``/``: what Kamou is, its newest figures, and links to the record."""

from __future__ import annotations

from kamou.http.responses import HTML
from kamou.store import as_of, public_queries, queries
from kamou.web.pages.base import PageRequest, RenderedPage

DESCRIPTION = (
    "Kamou trades crypto perpetual futures by rule, writes down every decision before its outcome"
    " is known, and publishes every result."
)


def render(request: PageRequest) -> RenderedPage:
    """Return the front page."""
    with public_queries.open_snapshot(request.reader) as reader:
        latest = queries.query_latest(reader)
        counts = as_of.counts_as_of(reader, as_of.find_instant(reader))
    body = request.templates.page(
        "front.html", title="Kamou", path="/", description=DESCRIPTION, latest=latest, counts=counts
    )
    return RenderedPage(body=body, media_type=HTML)
