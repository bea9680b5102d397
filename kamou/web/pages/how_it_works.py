"""``/how-it-works``: the page about the trading, the figures and their limits."""

from __future__ import annotations

from kamou.http.responses import HTML
from kamou.web.pages.base import PageRequest, RenderedPage

DESCRIPTION = (
    "From a bar to an order: how Kamou scans, vetoes, plans and limits its risk, how its figures"
    " are made, and what they cannot prove."
)


def render(request: PageRequest) -> RenderedPage:
    """Return the page, whose text depends only on mode, market and gate of the site."""
    body = request.templates.page(
        "how_it_works.html", title="How it works", path="/how-it-works", description=DESCRIPTION
    )
    return RenderedPage(body=body, media_type=HTML)
