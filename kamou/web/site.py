"""``Site``: mode, currency, gate and notices, which every page may show."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

import attrs

from kamou.core.kinds import RunMode
from kamou.store.latest_run import ASSUMED_GATE, LatestRun

RISK_NOTICE = (
    "This is not financial advice and no promise of profit. Perpetual futures are traded with"
    " leverage: you can lose everything you deposit, and lose it fast. Past results, simulated or"
    " real, do not predict future results."
)
GATE_NOTICE = (
    "The promotion gate is assumed live here: the strategies trade without having qualified by"
    " a shadow record of their own."
)
MODE_NOTICES = {
    RunMode.DEMO: "Demo: simulated market and simulated money",
    RunMode.PAPER: "Paper: real market data, simulated money",
    RunMode.LIVE: "",
    RunMode.BACKTEST: "Backtest: recorded market data, a simulated clock and simulated money",
}


PLANTED_NOTICE = "Demo: simulated market with planted edges, and simulated money"
RECORDED_NOTICE = "Demo: a replay of recorded market data, and simulated money"


class PriceSource(StrEnum):
    """The source of prices."""

    GENERATED = "generated"
    RECORDED = "recorded"
    REAL = "real"


@attrs.frozen(kw_only=True)
class Site:
    """The values that every page may show, such as mode, currency and gate."""

    mode: RunMode
    currency: str = "USDT"
    assumed_live: bool = False  # the gate grants every strategy its size without a record
    pricing_markdown: str = ""  # the operator's own text; empty: free and self-hosted
    public_url: str = ""  # origin, as the operator set it; never taken from a request
    recorded: bool = False  # the demo's market is a replay of recorded data
    ended: bool = False  # the replay has reached the end of its data
    equity: Decimal = Decimal(10_000)  # setting of the equity at the start
    planted: bool = False  # the demo's generated market may have planted edges

    @property
    def banner(self) -> str:
        """The line below every page's header; empty in live mode."""
        notice = MODE_NOTICES[self.mode]
        if self.mode is RunMode.DEMO and self.recorded:
            notice = RECORDED_NOTICE
        elif self.mode is RunMode.DEMO and self.planted:
            notice = PLANTED_NOTICE
        if not notice:
            return ""
        return f"{notice}; the gate is assumed live." if self.assumed_live else f"{notice}."

    @property
    def market(self) -> PriceSource:
        """The source of prices."""
        if self.mode is RunMode.BACKTEST:
            return PriceSource.RECORDED
        if self.mode is not RunMode.DEMO:
            return PriceSource.REAL
        return PriceSource.RECORDED if self.recorded else PriceSource.GENERATED

    @property
    def notices(self) -> tuple[str, ...]:
        """The notices that belong to every figure: banner, assumed gate and risk."""
        gate = GATE_NOTICE if self.assumed_live else ""
        return tuple(notice for notice in (self.banner, gate, RISK_NOTICE) if notice)

    def as_run(self, run: LatestRun | None) -> Site:
        """Return this site with the values of the journal's newest run, if there is one."""
        if run is None:
            return self
        assumed = run.gate == ASSUMED_GATE
        return attrs.evolve(
            self,
            mode=run.mode,
            currency=run.currency,
            assumed_live=assumed,
            recorded=run.recorded,
            ended=run.ended,
            equity=run.equity,
            planted=run.planted,
        )
