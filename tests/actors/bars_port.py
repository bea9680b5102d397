"""An exchange port with bars of one symbol, for tests of past marks."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import attrs
import numpy as np

from kamou.core.market.bars import Bars
from kamou.core.model import Quote
from kamou.errors import UnreachableError
from kamou.exchange.base import Capabilities

HOUR = 3_600_000


@attrs.define
class Port:
    """Exchange port with a bar of SOLUSDT for every period, which notes its requests."""

    close: Callable[[int], float] = lambda end_ms: 98.004
    silent: bool = False
    late_ms: int = 0  # by which its bars begin before the requested time
    quoted: dict[str, Quote] = attrs.Factory(dict)
    history_ms: int | None = None
    asked: list[int] = attrs.Factory(list)
    marks: Callable[[int], dict[str, Decimal]] | None = None  # of the past; None: it lists none
    marks_silent: bool = False
    marks_asked: list[int] = attrs.Factory(list)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            attached_stop=True,
            open_interest=True,
            funding_rates=True,
            long_short_ratio=True,
            premium_index=True,
            flow_windows=True,
            reduce_only=True,
            withdraw_check=True,
            history_ms=self.history_ms,
            mark_history=self.marks is not None,
        )

    async def marks_at(self, symbols: tuple[str, ...], at_ms: int) -> dict[str, Decimal]:
        assert self.marks is not None, "marks_at was called, but the port lists no past marks"
        assert symbols == ("SOLUSDT",)
        self.marks_asked.append(at_ms)
        if self.marks_silent:
            raise UnreachableError("silent")
        return self.marks(at_ms)

    async def bars(self, period_ms: int, since_ms: int, until_ms: int) -> Bars:
        self.asked.append(until_ms)
        if self.silent:
            raise UnreachableError("silent")
        price = np.array([[self.close(until_ms)]])
        return Bars(
            symbols=("SOLUSDT",),
            period_ms=period_ms,
            open_ms=np.array([since_ms - self.late_ms], dtype=np.int64),
            open=price,
            high=price,
            low=price,
            close=price,
            volume=price,
        )

    async def quotes(self, symbols: tuple[str, ...]) -> dict[str, Quote]:
        if self.silent:
            raise UnreachableError("silent")
        return self.quoted
