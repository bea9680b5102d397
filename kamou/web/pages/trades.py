"""``/trades``: every closed trade, newest first, by page and filter."""

from __future__ import annotations

from urllib.parse import urlencode

import attrs
from starlette.exceptions import HTTPException

from kamou.http.replies import HTML
from kamou.store import public_queries, queries
from kamou.web.pages.base import Ask, Page

PAGE_SIZE = 50  # rows; a page that a telephone still scrolls through
PARAMETERS = ("page", "strategy", "symbol", "outcome")
OUTCOMES = ("win", "loss")


@attrs.frozen(kw_only=True)
class Paging:
    """Which page this is, and the addresses of its neighbours; empty where there is none."""

    page: int
    pages: int
    newer: str
    older: str


def render(ask: Ask) -> Page:
    """One page of trades.

    Raises:
        HTTPException: 404 for a page or an outcome that does not exist.
    """
    strategy, symbol = ask.query.get("strategy") or None, ask.query.get("symbol") or None
    outcome = ask.query.get("outcome") or None
    number = ask.query.get("page") or "1"
    if not (number.isascii() and number.isdigit() and len(number) < 8):
        raise HTTPException(404)
    if outcome is not None and outcome not in OUTCOMES:
        raise HTTPException(404)
    page = int(number)
    with public_queries.snapshot(ask.reader) as reader:
        total = queries.trades_count(reader, strategy=strategy, symbol=symbol, outcome=outcome)
        pages = max(1, -(-total // PAGE_SIZE))
        if not 1 <= page <= pages:
            raise HTTPException(404)
        trades = queries.trades(
            reader,
            limit=PAGE_SIZE,
            offset=(page - 1) * PAGE_SIZE,
            strategy=strategy,
            symbol=symbol,
            outcome=outcome,
        )
        strategies, symbols = public_queries.traded_names(reader)
    chosen = {"strategy": strategy or "", "symbol": symbol or "", "outcome": outcome or ""}
    body = ask.templates.page(
        "trades.html",
        title="Trades",
        trades=trades,
        total=total,
        first=(page - 1) * PAGE_SIZE + 1,
        chosen=chosen,
        strategies=strategies,
        symbols=symbols,
        paging=Paging(
            page=page,
            pages=pages,
            newer=_address(chosen, page - 1) if page > 1 else "",
            older=_address(chosen, page + 1) if page < pages else "",
        ),
    )
    return Page(body=body, media_type=HTML)


def _address(chosen: dict[str, str], page: int) -> str:
    parameters = {name: value for name, value in chosen.items() if value}
    return "/trades?" + urlencode({**parameters, "page": page})
