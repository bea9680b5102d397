"""The type of a veto, its inputs, and ``make_veto``, which makes its result.

A veto is a function of a candidate and a ``VetoContext``. It returns None if the candidate passes,
and otherwise its code with figures (a ``Denial``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from decimal import Decimal

import attrs

from kamou.core.codes import Veto
from kamou.core.model import Candidate, Denial, Figure, Instrument, Quote
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
