"""``/how-it-works``: the method in plain English, with what it cannot prove."""

from __future__ import annotations

from kamou.http.replies import HTML
from kamou.web.pages.base import Ask, Page


def render(ask: Ask) -> Page:
    return Page(body=ask.templates.page("how_it_works.html", title="How it works"), media_type=HTML)
