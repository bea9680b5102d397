"""``/trades/{id}``: one trade with its chain of causes back to the bar."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.parse import quote

import attrs
import msgspec
from starlette.exceptions import HTTPException

from kamou.core.book.late_events import ResultCorrected
from kamou.core.book.trades import ADOPTED
from kamou.core.codes import StateReason
from kamou.core.model import OrderRole
from kamou.http.responses import HTML, JSON
from kamou.store import public_queries
from kamou.store.rows import TradeChain
from kamou.store.trade_chains import trade_chain
from kamou.store.trade_exits import flatten_reason
from kamou.store.worst_cases import worst_case_r
from kamou.web import format as fmt
from kamou.web.pages.base import PageRequest, RenderedPage
from kamou.web.trade_documents import trade_document

ROLES = {
    OrderRole.ENTRY: "Entry",
    OrderRole.STOP_LOSS: "Stop-loss",
    OrderRole.TAKE_PROFIT: "Take-profit",
    OrderRole.EXIT: "Exit",
}


FILLS_SHOWN = 60  # the first ones; an order may have a thousand
ORDERS_SHOWN = 30  # the first ones
CORRECTIONS_SHOWN = 30


@attrs.frozen(kw_only=True)
class Moment:
    """One line of the trade's timeline."""

    at_ms: int
    what: str
    detail: str


def render(request: PageRequest) -> RenderedPage:
    """Return one closed trade as HTML, or as JSON if the request prefers it.

    Raises:
        HTTPException: 404 if no trade with this id has closed.
    """
    with public_queries.open_snapshot(request.reader) as reader:
        chain = trade_chain(reader, request.path["trade_id"])
        late = public_queries.result_corrections(
            reader, request.path["trade_id"], limit=CORRECTIONS_SHOWN
        )
        if chain is None or chain.trade is None:
            raise HTTPException(404)
        worst = worst_case_r(reader, chain.trade)
        flattened = flatten_reason(reader, chain.trade)
    trade = chain.trade
    if request.json:
        return RenderedPage(
            body=msgspec.json.encode(trade_document(request.site, chain, late, worst, flattened)),
            media_type=JSON,
        )
    fills, orders = len(chain.fills), len(chain.orders)
    chain = attrs.evolve(chain, fills=chain.fills[:FILLS_SHOWN], orders=chain.orders[:ORDERS_SHOWN])
    body = request.templates.page(
        "trade.html",
        fills_total=fills,
        orders_total=orders,
        title=f"Trade {trade.symbol}",
        path=f"/trades/{quote(trade.trade_id)}",
        description=f"{trade.symbol} {trade.side}, closed {fmt.moment(trade.closed_at_ms)} UTC:"
        " its money, its orders and fills, and the signal that caused it.",
        chain=chain,
        trade=trade,
        worst=worst,
        adopted=trade.strategy == ADOPTED,
        ended=fmt.exit_of(trade.exit_reason, flattened),
        roles=ROLES,
        timeline=sorted(
            (*_timeline(chain, flattened), *_correction_moments(late)),
            key=lambda moment: moment.at_ms,
        ),
    )
    return RenderedPage(body=body, media_type=HTML)


def _correction_moments(corrections: Iterable[ResultCorrected]) -> Iterator[Moment]:
    for event in corrections:
        added, net = (fmt.money(m, signed=True, places=4) for m in (event.added, event.pnl_net))
        detail = f"{added} listed late, net {net}"
        yield Moment(at_ms=event.at_ms, what="Funding added to the result", detail=detail)


def _timeline(chain: TradeChain, flattened: StateReason | None) -> Iterator[Moment]:
    trade, signal, permit = chain.trade, chain.signal, chain.permit
    assert trade is not None
    if signal is not None:
        yield Moment(at_ms=signal.bar_opened_at_ms, what="Bar opened", detail=signal.symbol)
        yield Moment(
            at_ms=signal.bar_closed_at_ms,
            what="Bar closed",
            detail=f"at {fmt.feature(signal.close)}",
        )
        score = fmt.number(signal.score, places=3)
        detail = f"{fmt.words(signal.strategy)}, {signal.side}, score {score}"
        yield Moment(at_ms=signal.cycle_at_ms, what="Signal ranked", detail=detail)
    if permit is not None:
        size, risk = fmt.contracts(permit.quantity), fmt.money(permit.risk)
        detail = f"{size}, worst case {risk}, size bound by {fmt.bound(permit.bound_by)}"
        yield Moment(at_ms=permit.granted_at_ms, what="Permit granted", detail=detail)
        if permit.consumed_at_ms is not None:
            yield Moment(at_ms=permit.consumed_at_ms, what="Permit used", detail="once")
    for order in chain.orders:
        name = ROLES.get(order.role, order.role)
        detail = f"{order.side} {fmt.exact(order.quantity)}, {fmt.words(order.type)}"
        yield Moment(at_ms=order.intended_at_ms, what=f"{name} order recorded", detail=detail)
        if order.accepted_at_ms is not None:
            yield Moment(
                at_ms=order.accepted_at_ms,
                what=f"{name} order accepted",
                detail=order.venue_order_id,
            )
        if order.closed_at_ms is not None:
            detail = f"{fmt.words(order.status)}, {fmt.exact(order.filled)} filled"
            yield Moment(at_ms=order.closed_at_ms, what=f"{name} order ended", detail=detail)
    for fill in chain.fills:
        detail = f"{fill.side} {fmt.exact(fill.quantity)} at {fmt.price(fill.price)}"
        yield Moment(at_ms=fill.at_ms, what="Filled", detail=detail)
    ended = fmt.exit_of(trade.exit_reason, flattened)
    yield Moment(at_ms=trade.closed_at_ms, what="Trade closed", detail=ended)
