"""The JSON documents of ``/trades`` and of one trade.

Money is a decimal string, a time ms UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs

from kamou.core.book.late_events import ResultCorrected
from kamou.core.codes import StateReason
from kamou.core.plain import to_plain
from kamou.store.rows import SignalRow, TradeChain, TradeRow
from kamou.web.site import Site

FILLS_MAX = 100  # fills in a document, and orders; the document has the totals, too
PRIVATE = frozenset({"rowid"})  # fields of a row that are not published


@attrs.frozen(kw_only=True)
class TradesPage:
    """One page of a list of trades, newest first, with the addresses of its neighbors."""

    trades: Sequence[TradeRow]
    total: int  # trades of the whole list
    newer: str  # empty: there is no newer page
    older: str  # empty: there is no older page


def trades_document(
    site: Site,
    as_of_ms: int,
    page: TradesPage,
    *,
    worst: Mapping[str, float | None],
    flattened: Mapping[str, StateReason | None],
) -> dict[str, object]:
    """Return one page of trades.

    ``worst`` has the ``worst_case_r`` and ``flattened`` the cause of a flatten, by trade id. Before
    the first equity snapshot ``as_of_ms`` becomes null.
    """
    return {
        "mode": site.mode,
        "currency": site.currency,
        "as_of_ms": as_of_ms if as_of_ms < 2**53 else None,
        "total": page.total,
        "trades": [_trade(t, worst[t.trade_id], flattened[t.trade_id]) for t in page.trades],
        "newer_url": page.newer or None,
        "older_url": page.older or None,
    }


def trade_document(
    site: Site,
    chain: TradeChain,
    late: Iterable[ResultCorrected],
    worst: float | None,
    flattened: StateReason | None,
) -> dict[str, object]:
    """Return a trade with its chain of causes.

    Args:
        site: values of the site.
        chain: the trade, permit, signal, cycle, orders and fills; at most ``FILLS_MAX`` orders and
            as many fills are returned.
        late: corrections of the result.
        worst: its ``worst_case_r``; None without one.
        flattened: cause of the flatten that closed the trade; None if no flatten did.
    """
    assert chain.trade is not None
    return {
        "mode": site.mode,
        "currency": site.currency,
        "trade": _trade(chain.trade, worst, flattened),
        "fills": [_plain(fill) for fill in chain.fills[:FILLS_MAX]],
        "fills_total": len(chain.fills),
        "orders": [_plain(order) for order in chain.orders[:FILLS_MAX]],
        "orders_total": len(chain.orders),
        "permit": _plain(chain.permit),
        "signal": _signal(chain.signal),
        "cycle": _plain(chain.cycle),
        "corrections": [
            {
                "at_ms": each.at_ms,
                "added": to_plain(each.added),
                "pnl_net": to_plain(each.pnl_net),
            }
            for each in late
        ],
    }


def _trade(
    trade: TradeRow, worst: float | None, flattened: StateReason | None
) -> dict[str, object]:
    """Return one trade. Without an R, ``r_multiple`` and ``worst_case_r`` are null.

    Without a permit, ``worst_case_r`` is null, too.
    """
    found: dict[str, object] = {}
    for name, value in (_plain(trade) or {}).items():
        found[name] = value
        if name == "r_multiple":
            found["worst_case_r"] = worst
    found["flattened_for"] = flattened  # null: no flatten closed it
    return found


def _plain(row: attrs.AttrsInstance | None) -> dict[str, object] | None:
    if row is None:
        return None
    return {name: value for name, value in to_plain(row).items() if name not in PRIVATE}


def _signal(signal: SignalRow | None) -> dict[str, object] | None:
    """Return a signal with its features as one object; None for None."""
    plain = _plain(signal)
    return plain if plain is None or signal is None else plain | {"features": dict(signal.features)}
