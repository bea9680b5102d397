"""``PanelView``, a panel as one strategy may read it, and the errors of its reads.

A strategy declares its window, its indicators and its period of open interest. A view has no more
than these, so a strategy that reads more fails at its first such read, whichever other strategies
run. The panel itself has the largest window of all strategies.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Hashable
from typing import NoReturn, TypeVar

import attrs
import numpy as np
import numpy.typing as npt

from kamou.core.arrays import Floats, Ints
from kamou.core.indicators.base import Indicator, IndicatorState
from kamou.core.market.flow import FigureOfFlow
from kamou.core.market.hourly_rows import FigureOfHours
from kamou.core.market.panel import PANEL_FIELDS, Field, Panel
from kamou.core.market.settlements import FigureOfRates
from kamou.errors import KamouError

T = TypeVar("T", bound=np.generic)


class UnknownFieldError(KamouError):
    """A strategy asked for a field that a panel does not have."""


class UndeclaredReadError(KamouError):
    """A strategy read what it did not declare, or called what only the scanner may.

    A read that it did not declare is of bars outside its window, an indicator, open interest,
    funding, order flow, long/short ratios, the premium index or the whole market.
    """


@attrs.frozen(kw_only=True)
class DeclaredReads:
    """The largest reads that a strategy declared."""

    strategy: str
    bars: int  # longest window
    indicators: frozenset[Indicator]
    open_interest_rows: int  # 0: it reads no open interest
    funding_settlements: int = 0  # of each symbol; 0: it reads no funding
    flow_windows: int = 0  # 0: it reads no order flow
    ratio_hours: int = 0  # 0: it reads no long/short ratios
    premium_hours: int = 0  # 0: it reads no premium index
    reads_market: bool = False  # it reads the figures of the whole market


class PanelView(Panel):
    """The newest rows of a panel for one evaluation; its arrays cannot be written.

    Args:
        panel: the shard's panel. The view is valid until the panel's next ``append``.
        declared: the largest reads that the view allows.
    """

    def __init__(self, panel: Panel, declared: DeclaredReads) -> None:
        vars(self).update(vars(panel))
        self.count = _freeze(panel.count)
        self.last_close_ms = _freeze(panel.last_close_ms)
        self._declared = declared

    def append(self, *_: object, **__: object) -> NoReturn:
        raise UndeclaredReadError("a strategy called panel.append; only the scanner adds bars")

    def append_block(self, *_: object, **__: object) -> NoReturn:
        raise UndeclaredReadError(
            "a strategy called panel.append_block; only the scanner adds bars"
        )

    def extend(self, *_: object, **__: object) -> NoReturn:
        raise UndeclaredReadError("a strategy called panel.extend; only the scanner adds bars")

    def append_interest(self, *_: object, **__: object) -> NoReturn:
        raise UndeclaredReadError(
            "a strategy called panel.append_interest; only the scanner adds open interest"
        )

    def copy_interest(self, *_: object, **__: object) -> NoReturn:
        raise UndeclaredReadError(
            "a strategy called panel.copy_interest; read panel.open_interest(now_ms)"
        )

    def keep_funding(self, *_: object, **__: object) -> NoReturn:
        raise UndeclaredReadError(
            "a strategy called panel.keep_funding; declare funding_settlements"
        )

    def append_funding(self, *_: object, **__: object) -> NoReturn:
        raise UndeclaredReadError(
            "a strategy called panel.append_funding; only the scanner adds funding"
        )

    def copy_funding(self, *_: object, **__: object) -> NoReturn:
        raise UndeclaredReadError(
            "a strategy called panel.copy_funding; read panel.funding(now_ms)"
        )

    def keep_flow(self, *_: object, **__: object) -> NoReturn:
        raise UndeclaredReadError("a strategy called panel.keep_flow; declare flow_windows")

    def append_flow(self, *_: object, **__: object) -> NoReturn:
        raise UndeclaredReadError(
            "a strategy called panel.append_flow; only the scanner adds order flow"
        )

    def copy_flow(self, *_: object, **__: object) -> NoReturn:
        raise UndeclaredReadError("a strategy called panel.copy_flow; read panel.flow(now_ms)")

    def keep_ratios(self, *_: object, **__: object) -> NoReturn:
        raise UndeclaredReadError("a strategy called panel.keep_ratios; declare ratio_hours")

    def append_ratios(self, *_: object, **__: object) -> NoReturn:
        raise UndeclaredReadError(
            "a strategy called panel.append_ratios; only the scanner adds long/short ratios"
        )

    def copy_ratios(self, *_: object, **__: object) -> NoReturn:
        raise UndeclaredReadError("a strategy called panel.copy_ratios; read panel.ratios(now_ms)")

    def keep_premium(self, *_: object, **__: object) -> NoReturn:
        raise UndeclaredReadError("a strategy called panel.keep_premium; declare premium_hours")

    def append_premium(self, *_: object, **__: object) -> NoReturn:
        raise UndeclaredReadError(
            "a strategy called panel.append_premium; only the scanner adds the premium index"
        )

    def copy_premium(self, *_: object, **__: object) -> NoReturn:
        raise UndeclaredReadError(
            "a strategy called panel.copy_premium; read panel.premium(now_ms)"
        )

    def keep_market(self, *_: object, **__: object) -> NoReturn:
        raise UndeclaredReadError("a strategy called panel.keep_market; declare reads_market")

    def give_market(self, *_: object, **__: object) -> NoReturn:
        raise UndeclaredReadError(
            "a strategy called panel.give_market; only the scanner adds the market's figures"
        )

    def market(self, n: int) -> Floats:
        """Return rows of the whole market, as ``Panel.market`` does.

        Raises:
            UndeclaredReadError: the strategy does not declare ``reads_market``, or the rows are not
                within its window.
        """
        if not self._declared.reads_market:
            raise UndeclaredReadError(
                "the strategy reads the whole market, and its reads_market is not True; declare it"
            )
        self._check("close", n, 0)
        return _freeze(super().market(n))

    def view(self, field: Field, n: int, back: int = 0) -> Floats:
        """Return ``n`` rows, as ``Panel.view`` does.

        Raises:
            UnknownFieldError: the panel has no such field.
            UndeclaredReadError: the rows are not within the declared window.
        """
        self._check(field, n, back)
        return _freeze(super().view(field, n, back))

    def row(self, field: Field, back: int = 0) -> Floats:
        """Return one row, as ``Panel.row`` does, with the errors of ``view``."""
        self._check(field, 1, back)
        return _freeze(super().row(field, back))

    def _check(self, field: str, n: int, back: int) -> None:
        if field not in PANEL_FIELDS:
            close = difflib.get_close_matches(field, PANEL_FIELDS, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise UnknownFieldError(
                f"the panel has no field {field!r}; it has {', '.join(PANEL_FIELDS)}{hint}"
            )
        if n < 1 or back < 0:
            raise UndeclaredReadError(
                f"{n} rows that end {back} bars before the newest do not exist; ask for at least 1"
                " row that ends 0 or more bars before the newest"
            )
        if n + back > self._declared.bars:
            raise UndeclaredReadError(
                f"the strategy reads {n + back} bars back, and its lookback_bars declares"
                f" {self._declared.bars}; declare {n + back} or read less"
            )

    def indicator(self, spec: Indicator) -> Floats:
        """Return an indicator's value, as ``Panel.indicator`` does.

        Raises:
            UndeclaredReadError: the strategy's ``indicators`` do not have it.
        """
        self._check_indicator(spec)
        return _freeze(super().indicator(spec))

    def state(self, spec: Indicator) -> IndicatorState:
        """Return an indicator's state, with the error of ``indicator``."""
        self._check_indicator(spec)
        return super().state(spec)

    def _check_indicator(self, spec: Indicator) -> None:
        if spec not in self._declared.indicators:
            known = ", ".join(sorted(map(repr, self._declared.indicators))) or "none"
            raise UndeclaredReadError(
                f"the strategy reads the indicator {spec!r}, and its indicators are {known};"
                " add it to them"
            )

    def open_interest(self, now_ms: int) -> tuple[Ints, Floats]:
        """Return the newest declared rows of open interest, as ``Panel`` does.

        Raises:
            UndeclaredReadError: the strategy declares no open interest.
        """
        rows = self._declared.open_interest_rows
        if not rows:
            raise UndeclaredReadError(
                "the strategy reads open interest, and its open_interest_span_ms is 0; declare the"
                " period that it reads"
            )
        times, logs = super().open_interest(now_ms)
        return _freeze(times[-rows:]), _freeze(logs[-rows:])

    def compute_from_interest(
        self, key: Hashable, now_ms: int, compute: Callable[[Ints, Floats], Floats]
    ) -> Floats:
        """Return ``compute(*open_interest(now_ms))``, cached as ``Panel`` does.

        The strategies share the panel, so the cache key includes the strategy: another strategy may
        use an equal key for another result.

        Raises:
            UndeclaredReadError: the strategy declares no open interest.
        """
        own = (self._declared.strategy, self._declared.open_interest_rows, key)
        return _freeze(np.asarray(super().compute_from_interest(own, now_ms, compute)))

    def funding(self, now_ms: int) -> tuple[Ints, Floats]:
        """Return the newest declared settlements of funding, as ``Panel`` does.

        Raises:
            UndeclaredReadError: the strategy declares no funding.
        """
        times, rates = super().funding(now_ms)
        rows = self._declared_settlements()
        return _freeze(times[-rows:]), _freeze(rates[-rows:])

    def compute_from_funding(self, key: Hashable, now_ms: int, compute: FigureOfRates) -> Floats:
        """Return ``compute`` of the declared funding, as ``compute_from_interest`` does.

        Raises:
            UndeclaredReadError: the strategy declares no funding.
        """
        rows = self._declared_settlements()

        def compute_declared(times: Ints, rates: Floats) -> Floats:
            return compute(_freeze(times[-rows:]), _freeze(rates[-rows:]))

        own = (self._declared.strategy, rows, key)
        return _freeze(np.asarray(super().compute_from_funding(own, now_ms, compute_declared)))

    def _declared_settlements(self) -> int:
        rows = self._declared.funding_settlements
        if not rows:
            raise UndeclaredReadError(
                "the strategy reads funding, and its funding_settlements are 0; declare the number"
                " of settlements that it reads"
            )
        return rows

    def flow(self, now_ms: int) -> tuple[Ints, Floats]:
        """Return the newest declared windows of order flow, as ``Panel`` does.

        Raises:
            UndeclaredReadError: the strategy declares no order flow.
        """
        windows = self._declared_windows()
        ends, values = super().flow(now_ms)
        return _freeze(ends[-windows:]), _freeze(values[-windows:])

    def compute_from_flow(self, key: Hashable, now_ms: int, compute: FigureOfFlow) -> Floats:
        """Return ``compute`` of the declared flow, as ``compute_from_interest`` does.

        Raises:
            UndeclaredReadError: the strategy declares no order flow.
        """
        windows = self._declared_windows()

        def compute_declared(ends: Ints, values: Floats) -> Floats:
            return compute(_freeze(ends[-windows:]), _freeze(values[-windows:]))

        own = (self._declared.strategy, windows, key)
        return _freeze(np.asarray(super().compute_from_flow(own, now_ms, compute_declared)))

    def _declared_windows(self) -> int:
        windows = self._declared.flow_windows
        if not windows:
            raise UndeclaredReadError(
                "the strategy reads order flow, and its flow_windows are 0; declare the number of"
                " windows that it reads"
            )
        return windows

    def ratios(self, now_ms: int) -> tuple[Ints, Floats]:
        """Return the newest declared hours of long/short ratios, as ``Panel`` does.

        Raises:
            UndeclaredReadError: the strategy declares no ratios.
        """
        hours = self._declared_hours()
        times, logs = super().ratios(now_ms)
        return _freeze(times[-hours:]), _freeze(logs[-hours:])

    def compute_from_ratios(self, key: Hashable, now_ms: int, compute: FigureOfHours) -> Floats:
        """Return ``compute`` of the declared ratios, as ``compute_from_interest`` does.

        Raises:
            UndeclaredReadError: the strategy declares no ratios.
        """
        hours = self._declared_hours()

        def compute_declared(times: Ints, logs: Floats) -> Floats:
            return compute(_freeze(times[-hours:]), _freeze(logs[-hours:]))

        own = (self._declared.strategy, hours, key)
        return _freeze(np.asarray(super().compute_from_ratios(own, now_ms, compute_declared)))

    def _declared_hours(self) -> int:
        hours = self._declared.ratio_hours
        if not hours:
            raise UndeclaredReadError(
                "the strategy reads long/short ratios, and its ratio_hours are 0; declare the"
                " number of hours that it reads"
            )
        return hours

    def premium(self, now_ms: int) -> tuple[Ints, Floats]:
        """Return the newest declared hours of the premium index, as ``Panel`` does.

        Raises:
            UndeclaredReadError: the strategy declares no premium index.
        """
        hours = self._declared_premium_hours()
        times, values = super().premium(now_ms)
        return _freeze(times[-hours:]), _freeze(values[-hours:])

    def compute_from_premium(self, key: Hashable, now_ms: int, compute: FigureOfHours) -> Floats:
        """Return ``compute`` of the declared premium, as ``compute_from_interest`` does.

        Raises:
            UndeclaredReadError: the strategy declares no premium index.
        """
        hours = self._declared_premium_hours()

        def compute_declared(times: Ints, values: Floats) -> Floats:
            return compute(_freeze(times[-hours:]), _freeze(values[-hours:]))

        own = (self._declared.strategy, hours, key)
        return _freeze(np.asarray(super().compute_from_premium(own, now_ms, compute_declared)))

    def _declared_premium_hours(self) -> int:
        hours = self._declared.premium_hours
        if not hours:
            raise UndeclaredReadError(
                "the strategy reads the premium index, and its premium_hours are 0; declare the"
                " number of hours that it reads"
            )
        return hours


def _freeze(values: npt.NDArray[T]) -> npt.NDArray[T]:
    """Return the array as one that cannot be written."""
    frozen = values.view()
    frozen.flags.writeable = False
    return frozen
