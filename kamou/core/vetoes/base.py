"""The type of a veto, its inputs, and ``make_veto``, which makes its result.

A veto is a function of a candidate and a ``VetoContext``. It returns None if the candidate passes,
and otherwise its code with figures (a ``Denial``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from decimal import Decimal

import attrs

from kamou.core.codes import Veto
from kamou.core.indicators.regime_terms import SymbolRegime
from kamou.core.model import ZERO, Candidate, Denial, Figure, Instrument, Quote
from kamou.core.record.record_findings import RecordFindings
from kamou.core.risk.costs import ExpectedHold, reward_to_risk, trade_costs
from kamou.core.risk.limits import TradingParameters, VetoLimits


@attrs.frozen(kw_only=True)
class VetoContext:
    """Inputs of a veto (T2), as of ``now_ms``."""

    now_ms: int
    period_ms: int  # length of the bars that strategies score
    limits: VetoLimits
    parameters: TradingParameters
    quotes: Mapping[str, Quote]  # sound ones, by symbol
    instruments: Mapping[str, Instrument]  # newest specification of every listed symbol
    held: Mapping[str, str] = attrs.field(factory=dict)  # symbol -> text: position or open entry
    last_stop_ms: Mapping[str, int] = attrs.field(factory=dict)  # symbol -> its newest stop-out
    # By symbol: a fraction of notional per funding interval, > 0 when longs pay.
    funding_rates: Mapping[str, Decimal] = attrs.field(factory=dict)
    conflicting: Collection[str] = frozenset()  # see ``find_conflicting_symbols``
    shadows: Collection[tuple[str, str]] = frozenset()  # (strategy, symbol) of open shadow trades
    settled_ms: Mapping[str, int] = attrs.field(factory=dict)  # symbol -> last known settlement
    regimes: Mapping[str, SymbolRegime] = attrs.field(factory=dict)  # by symbol
    bitcoin: str = ""  # the listed symbol of Bitcoin; empty: none
    # By symbol: largest move within 60 s in the pause before now, a fraction; None: not known.
    moves: Mapping[str, float] | None = attrs.field(factory=dict)
    findings: Mapping[str, RecordFindings] = attrs.field(factory=dict)  # by strategy


@attrs.frozen(kw_only=True)
class NetReward:
    """The reward-to-risk of a candidate net of costs, and the costs per base unit."""

    net: float
    cost: float  # in price, of the round trip, with funding
    funding: float  # in price


def find_net_reward(candidate: Candidate, context: VetoContext) -> NetReward:
    """Return the reward-to-risk of a candidate after costs.

    Without a quote the spread counts as 0, because the veto ``staleness`` then stops the candidate.
    Without an instrument the fees of the settings count, because the order manager then denies the
    candidate.
    """
    quote = context.quotes.get(candidate.symbol)
    price = Decimal(repr(candidate.close))
    costs = trade_costs(
        instrument=context.instruments.get(candidate.symbol),
        costs=context.parameters.costs,
        spread=ZERO if quote is None else quote.spread,
        price=price,
        hold=ExpectedHold(
            side=candidate.side,
            hold_ms=candidate.hold_ms,
            funding_rate=context.funding_rates.get(candidate.symbol),
        ),
        rests=candidate.rest_ms > 0,
    )
    cost = float(costs.round_trip(price, price))
    net = reward_to_risk(
        target_distance=candidate.target_distance,
        stop_distance=candidate.stop_distance,
        cost=cost,
    )
    return NetReward(net=net, cost=cost, funding=float(costs.funding * price))


VetoRule = Callable[[Candidate, VetoContext], Denial | None]


def make_veto(code: Veto, **figures: object) -> Denial:
    """Return a veto's code with its figures in the given order.

    Floats have six significant digits.
    """
    shown = tuple(
        Figure(name=name, value=f"{value:.6g}" if isinstance(value, float) else str(value))
        for name, value in figures.items()
    )
    return Denial(code=code, figures=shown)
