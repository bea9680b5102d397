"""``PageRequest``, ``RenderedPage`` and ``Render``: the types of a page.

A page is a function from a request to a body with its media type. It only reads the database.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping

import attrs

from kamou.web.daily_figures import Memo
from kamou.web.render import Templates
from kamou.web.site import Site


@attrs.frozen(kw_only=True)
class PageRequest:
    """One request to a page, with all that the page may read."""

    reader: sqlite3.Connection
    site: Site
    templates: Templates
    memo: Memo
    path: Mapping[str, str]  # the parameters of the path
    query: Mapping[str, str]  # only the parameters that the route names
    json: bool  # the request prefers JSON, and the route negotiates


@attrs.frozen(kw_only=True)
class RenderedPage:
    """The body of a response and its media type."""

    body: bytes
    media_type: str


Render = Callable[[PageRequest], RenderedPage]
