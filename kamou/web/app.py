"""``PublicSite``, the pages of a read-only database, and ``ROUTES``, their table.

``PublicSite`` renders a page on a worker thread, because it may take 100 ms (thousands of
resamples) and all other connections would wait. A page is cached while the journal's head stays
the same, so a request for a cached page costs one ``max(seq)`` on the event loop.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import attrs
import msgspec
import trio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from kamou.errors import StoreError
from kamou.http.negotiation import prefers_json
from kamou.http.responses import (
    HTML,
    JSON,
    NEVER,
    FixedResponse,
    ResponseCache,
    make_error_handler,
    make_response,
)
from kamou.runtime.runners import Runner
from kamou.store.database import open_reader
from kamou.store.latest_run import latest_run
from kamou.store.queries import head_seq
from kamou.web.daily_figures import Memo
from kamou.web.pages import days, front, how_it_works, pricing, results, strategies, trade, trades
from kamou.web.pages.base import PageRequest, Render, RenderedPage
from kamou.web.render import Templates, load_templates
from kamou.web.site import Site
from kamou.web.static_replies import fixed_replies

T = TypeVar("T")
OnError = Callable[[str, Exception], None]  # the path, and the error of its page

CACHE_BYTES = 16 * 1024 * 1024  # of pages at the addresses of the routes table
CHOSEN_BYTES = 2 * 1024 * 1024  # of pages at an address with an id or a parameter
QUERY_CHARS_MAX = 512  # of a query string; a page reads at most five short parameters


@attrs.frozen(kw_only=True)
class PageRoute:
    """A row of the routes table."""

    path: str
    render: Render
    query: tuple[str, ...] = ()  # the parameters that the page reads
    negotiates: bool = False  # the response is JSON if the request prefers it


ROUTES: tuple[PageRoute, ...] = (
    PageRoute(path="/", render=front.render),
    PageRoute(path="/results", render=results.render, negotiates=True),
    PageRoute(path="/results.json", render=results.render_json),
    PageRoute(path="/trades", render=trades.render, query=trades.PARAMETERS, negotiates=True),
    PageRoute(path="/trades/{trade_id:path}", render=trade.render, negotiates=True),
    PageRoute(path="/strategies", render=strategies.render, negotiates=True),
    PageRoute(path="/strategies/{name}", render=strategies.render_one, negotiates=True),
    PageRoute(path="/days", render=days.render, query=days.PARAMETERS),
    PageRoute(path="/api/v1/public/days", render=days.render_json, query=days.JSON_PARAMETERS),
    PageRoute(path=trades.API_PATH, render=trades.render_json, query=trades.PARAMETERS),
    PageRoute(path="/how-it-works", render=how_it_works.render),
    PageRoute(path="/pricing", render=pricing.render),
)

ERRORS = {
    400: ("Not a valid address", "A parameter of this address has a value that is not allowed."),
    404: ("Not found", "There is nothing at this address."),
    405: ("Not allowed", "This site can only be read."),
    414: ("Address too long", "This address is longer than any that the site has."),
    500: ("Page failed", "The page could not be made. Trading does not depend on it."),
}


async def run_in_thread(function: Callable[..., T], /, *args: object) -> T:
    """Run a function in a thread.

    A canceled request waits for the function's end, because it still uses the reader.
    """
    return await trio.to_thread.run_sync(function, *args, abandon_on_cancel=False)


class PublicSite:
    """The ASGI application of the pages; call ``close`` when it is no longer served."""

    def __init__(
        self,
        database: Path,
        site: Site,
        *,
        runner: Runner = run_in_thread,
        on_error: OnError | None = None,
    ) -> None:
        self._database = database
        self._site = site  # with the values of the journal's newest run, once it is read
        self._runner = runner
        self._on_error = on_error
        self._templates = load_templates(site)
        self._memo = Memo()
        self._replies = ResponseCache(CACHE_BYTES)
        # Separate, because requests for many addresses would empty the cache of common pages.
        self._chosen = ResponseCache(CHOSEN_BYTES)
        # By status in ERRORS, whether it is JSON, and the sentence about a parameter.
        self._errors: dict[tuple[int, bool, str], FixedResponse] = {}
        self._one_render = trio.Lock()  # the reader has one user at a time
        self._head_reader: sqlite3.Connection | None = None
        self._page_reader: sqlite3.Connection | None = None
        self._negotiating = frozenset(row.path for row in ROUTES if row.negotiates)
        self._routed = self._starlette()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD"):
            cached = self._cached_reply(scope)
            if cached is not None:
                await cached(scope, receive, send)
                return
        await self._routed(scope, receive, send)

    def close(self) -> None:
        """Close the readers; the next request opens them again."""
        for reader in (self._head_reader, self._page_reader):
            if reader is not None:
                reader.close()
        self._head_reader = self._page_reader = None

    # --- cached replies --------------------------------------------------------------------------

    def _cached_reply(self, scope: Scope) -> FixedResponse | None:
        """Return the cached response for an address without a query; None without one."""
        if scope["query_string"]:
            return None
        path = scope["path"]
        negotiates = path in self._negotiating or path.startswith(("/trades/", "/strategies/"))
        as_json = negotiates and _wants_json(scope)
        try:
            head = self._head()
        except (StoreError, sqlite3.Error):
            return None  # rendering raises the same error, which becomes an error page
        key = (path, as_json, ())
        return self._replies.get(key, head) or self._chosen.get(key, head)

    def _head(self) -> int:
        if self._head_reader is None:
            self._head_reader = open_reader(self._database)
        return head_seq(self._head_reader)

    # --- rendering -------------------------------------------------------------------------------

    def _starlette(self) -> Starlette:
        routes = [Route(row.path, self._endpoint(row)) for row in ROUTES]
        routes += [
            Route(path, _serve_fixed(fixed))
            for path, fixed in fixed_replies(self._templates.static, self._site.public_url)
        ]
        app = Starlette(
            routes=routes,
            exception_handlers={
                HTTPException: make_error_handler(self._http_error),
                Exception: make_error_handler(self._report_failure),
            },
        )
        app.router.redirect_slashes = False
        return app

    def _endpoint(self, row: PageRoute) -> Callable[[Request], Awaitable[FixedResponse]]:
        """Return the endpoint of one route, which renders its page or uses the cached one."""

        async def endpoint(request: Request) -> FixedResponse:
            if len(request.scope["query_string"]) > QUERY_CHARS_MAX:
                raise HTTPException(414)
            as_json = row.negotiates and _wants_json(request.scope)
            query = {n: request.query_params[n] for n in row.query if n in request.query_params}
            key = (request.scope["path"], as_json, tuple(query.items()))
            replies = self._chosen if query or request.path_params else self._replies
            async with self._one_render:
                # The head is read first: a page may be newer than its head, but never older.
                head = self._head()
                found = replies.get(key, head)
                if found is None:
                    path = dict(request.path_params)
                    page = await self._runner(
                        partial(self._render, row.render, path, query, as_json=as_json)
                    )
                    found = make_response(
                        page.body, page.media_type, extra=cross_origin(page.media_type)
                    )
                    replies.put(key, head, found)
            return found

        return endpoint

    def _render(
        self, render: Render, path: dict[str, str], query: dict[str, str], *, as_json: bool
    ) -> RenderedPage:
        if self._page_reader is None:
            self._page_reader = open_reader(self._database)
        self._update_site(self._page_reader)
        return render(
            PageRequest(
                reader=self._page_reader,
                site=self._site,
                templates=self._templates,
                memo=self._memo,
                path=path,
                query=query,
                json=as_json,
            )
        )

    def _update_site(self, reader: sqlite3.Connection) -> None:
        """Set site and templates to the values of the journal's newest run, if any."""
        site = self._site.as_run(latest_run(reader))
        if site != self._site:
            self._site, self._templates = site, load_templates(site)

    async def _http_error(self, request: Request, error: Exception) -> FixedResponse:
        assert isinstance(error, HTTPException)
        headers = dict(error.headers or {})
        as_json = _is_for_machines(request.scope)
        if headers or error.status_code not in ERRORS:
            return error_reply(self._templates, error.status_code, headers, as_json=as_json)
        sentence = error.detail if error.status_code == 400 else ""
        return self._error_page(error.status_code, sentence, as_json=as_json)

    async def _report_failure(self, request: Request, error: Exception) -> FixedResponse:
        if self._on_error is not None:
            self._on_error(request.scope["path"], error)
        return self._error_page(500, as_json=_is_for_machines(request.scope))

    def _error_page(self, status: int, sentence: str = "", *, as_json: bool) -> FixedResponse:
        """Return the error page of a status, rendered once and cached.

        ``sentence`` comes from the code of a page and never from the request, so the cache stays
        small.
        """
        assert status in ERRORS, f"status {status} has no text; add it to ERRORS"
        key = (status, as_json, sentence)
        if key not in self._errors:
            self._errors[key] = error_reply(self._templates, status, {}, sentence, as_json=as_json)
        return self._errors[key]


def error_reply(
    templates: Templates,
    status: int,
    headers: dict[str, str],
    sentence: str = "",
    *,
    as_json: bool = False,
) -> FixedResponse:
    """Return an error page in the site's style, or an error as JSON.

    ``sentence`` follows the text of the status.
    """
    heading, text = ERRORS.get(status, ("Request failed", "The site cannot answer this request."))
    text = f"{text} {sentence}" if sentence else text
    if as_json:
        document = msgspec.json.encode({"error": heading, "detail": text, "status": status})
        extra = {**headers, **cross_origin(JSON)}
        return make_response(document, JSON, status=status, cache=NEVER, extra=extra)
    body = templates.page("error.html", title=heading, status=status, heading=heading, text=text)
    return make_response(body, HTML, status=status, cache=NEVER, extra=headers)


def _wants_json(scope: Scope) -> bool:
    accept = b", ".join(value for name, value in scope["headers"] if name == b"accept")
    return prefers_json(accept.decode("latin-1"))


def _is_for_machines(scope: Scope) -> bool:
    """Return True if an error of this request is sent as JSON."""
    path = scope["path"]
    return path.startswith("/api/") or path.endswith(".json") or _wants_json(scope)


def cross_origin(media_type: str) -> dict[str, str]:
    """Return the header that lets scripts of any page read JSON; none for other types."""
    return {"access-control-allow-origin": "*"} if media_type == JSON else {}


def _serve_fixed(fixed: FixedResponse) -> Callable[[Request], Awaitable[FixedResponse]]:
    """Return an endpoint that responds with ``fixed``."""

    async def endpoint(_request: Request) -> FixedResponse:
        return fixed

    return endpoint
