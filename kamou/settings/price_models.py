"""The models of fill prices and funding that the settings choose."""

from __future__ import annotations

from kamou.core.market.fill_prices import (
    PriceModels,
    SettledFunding,
    SlippageModel,
    StopFillModel,
)
from kamou.core.model import BPS_PER_UNIT
from kamou.core.risk.limits import CostModel
from kamou.settings.config import ExchangeSettings


def make_price_models(exchange: ExchangeSettings, costs: CostModel) -> PriceModels:
    """Return the models of slippage, stops and funding for venue and shadow trades."""
    return PriceModels(
        slippage=SlippageModel(bps=float(costs.slippage_bps)),
        stop=StopFillModel(
            gap_range_atr=float(exchange.gap_range_atr), gap_depth=float(exchange.gap_depth)
        ),
        funding=SettledFunding(assumed_per_8h=costs.funding_bps_per_8h / BPS_PER_UNIT),
    )
