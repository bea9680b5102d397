"""``/how-it-works``: the method in plain English, and what the record cannot prove."""

from __future__ import annotations

from kamou.http.responses import HTML
from kamou.web.pages.base import Ask, RenderedPage

DESCRIPTION = (
    "From a bar to an order: how Kamou scans, vetoes, plans and limits its risk, how its figures"
    " are made, and what they cannot prove."
)


def render(ask: Ask) -> RenderedPage:
    body = ask.templates.page(
        "how_it_works.html", title="How it works", path="/how-it-works", description=DESCRIPTION
    )
    return RenderedPage(body=body, media_type=HTML)
