"""The types of a page: a function from a request to bytes, which only reads the database."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping

import attrs

from kamou.web.daily_figures import Memo
from kamou.web.render import Templates
from kamou.web.site import Site


@attrs.frozen(kw_only=True)
class Ask:
    """One request to a page. ``query`` holds only the parameters that its route names."""

    reader: sqlite3.Connection
    site: Site
    templates: Templates
    memo: Memo
    path: Mapping[str, str]
    query: Mapping[str, str]
    json: bool


@attrs.frozen(kw_only=True)
class RenderedPage:
    body: bytes
    media_type: str


Render = Callable[[Ask], RenderedPage]
