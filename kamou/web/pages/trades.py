"""``/trades`` and ``/api/v1/public/trades``: pages of closed trades, newest first."""

from __future__ import annotations

import re
from urllib.parse import urlencode

import attrs
import msgspec
from starlette.exceptions import HTTPException

from kamou.http.responses import HTML, JSON
from kamou.store import as_of, public_queries, queries
from kamou.store.queries import TradeOutcome
from kamou.store.rows import TradeCursor
from kamou.store.trade_exits import flatten_reason
from kamou.store.worst_cases import worst_case_r
from kamou.web.pages.base import PageRequest, RenderedPage
from kamou.web.trade_documents import TradesPage, trades_document

PAGE_SIZE = 50  # rows; short enough to scroll on a telephone
LISTED_SYMBOLS_MAX = 400  # in a list to choose from; with more symbols the page has a text field
PATH, API_PATH = "/trades", "/api/v1/public/trades"
PARAMETERS = ("before", "after", "strategy", "symbol", "outcome")
DESCRIPTION = (
    "Every closed trade with its costs, net result and R, each followed back to the bar that"
    " caused it."
)
PLACE = re.compile(r"([0-9]{1,15})-([0-9]{1,15})")


def render(request: PageRequest) -> RenderedPage:
    """Return one page of trades as HTML, or as JSON if the request prefers it.

    Raises:
        HTTPException: see ``render_json``.
    """
    return _page(request, PATH, as_json=request.json)


def render_json(request: PageRequest) -> RenderedPage:
    """Return one page of trades as JSON, with the addresses of newer and older trades.

    Raises:
        HTTPException: 400 for an invalid ``before``, ``after`` or ``outcome``; 404 if ``before`` or
            ``after`` is given and no trade is there.
    """
    return _page(request, API_PATH, as_json=True)


def _page(request: PageRequest, path: str, *, as_json: bool) -> RenderedPage:
    """Return one page of trades, as HTML or as JSON.

    Raises:
        HTTPException: see ``render_json``.
    """
    wanted = _filters(request)
    before, after = _place(request, "before"), _place(request, "after")
    with public_queries.open_snapshot(request.reader) as reader:
        then = as_of.find_instant(reader)
        total = queries.count_trades(reader, wanted)
        total -= as_of.count_later_trades(reader, then, wanted)
        found = queries.query_trades(
            reader,
            wanted,
            limit=PAGE_SIZE + 1,
            before=before,
            after=after,
            until_ms=then.at_ms,
        )
        strategies, symbols = as_of.list_traded(reader, then)
        trades = found[-PAGE_SIZE:] if after else found[:PAGE_SIZE]
        worst = {t.trade_id: worst_case_r(reader, t) for t in trades} if as_json else {}
        flattened = {t.trade_id: flatten_reason(reader, t) for t in trades}
    if not found and (before or after):
        raise HTTPException(404)
    more = len(found) > PAGE_SIZE
    has_newer, has_older = (more, True) if after else (before is not None, more)
    chosen = {name: value or "" for name, value in attrs.asdict(wanted).items()}
    page = TradesPage(
        trades=trades,
        total=total,
        newer=_address(path, chosen, "after", trades[0].cursor) if has_newer else "",
        older=_address(path, chosen, "before", trades[-1].cursor) if has_older else "",
    )
    if as_json:
        listed = trades_document(request.site, then.at_ms, page, worst=worst, flattened=flattened)
        return RenderedPage(body=msgspec.json.encode(listed), media_type=JSON)
    body = request.templates.page(
        "trades.html",
        title="Trades",
        path=PATH,
        description=DESCRIPTION,
        trades=page.trades,
        total=page.total,
        newer=page.newer,
        older=page.older,
        flattened=flattened,
        chosen=chosen,
        strategies=strategies,
        symbols=symbols if len(symbols) <= LISTED_SYMBOLS_MAX else (),
    )
    return RenderedPage(body=body, media_type=HTML)


def _filters(request: PageRequest) -> queries.TradeFilter:
    """Return the filters of ``query_trades``; None for a parameter without a value.

    Raises:
        HTTPException: 400 for an invalid ``outcome``.
    """
    given = request.query.get("outcome")
    try:
        outcome = TradeOutcome(given) if given else None
    except ValueError as error:
        expected = f"outcome must be {TradeOutcome.WIN} or {TradeOutcome.LOSS}."
        raise HTTPException(400, expected) from error
    return queries.TradeFilter(
        strategy=request.query.get("strategy") or None,
        symbol=request.query.get("symbol") or None,
        outcome=outcome,
    )


def _place(request: PageRequest, name: str) -> TradeCursor | None:
    """Return the closing time and row of a trade from a parameter; None without one.

    Raises:
        HTTPException: 400 for a value of another form.
    """
    given = request.query.get(name)
    if not given:
        return None
    named = PLACE.fullmatch(given)
    if named is None:
        raise HTTPException(
            400, f"{name} must be a closing time in ms and a row, such as 1753488000000-12."
        )
    return TradeCursor(closed_at_ms=int(named[1]), rowid=int(named[2]))


def _address(path: str, chosen: dict[str, str], name: str, place: TradeCursor) -> str:
    parameters = {name: value for name, value in chosen.items() if value}
    return f"{path}?" + urlencode({**parameters, name: f"{place.closed_at_ms}-{place.rowid}"})
