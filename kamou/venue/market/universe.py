"""The perpetuals of the generated market: settings, constants and instruments.

The symbols are ``BTCUSDT`` and ``ETHUSDT``, then ``SYN003USDT``, ``SYN004USDT``, ... No venue
lists a symbol that begins with SYN, so a generated trade of one cannot be mistaken for a real one.
"""

from __future__ import annotations

from decimal import Decimal

import attrs
import numpy as np

from kamou.core.arrays import Floats
from kamou.core.model import Instrument

QUOTE = "USDT"
SIGNIFICANT_DIGITS = 5  # of a price: tick / price between 0.1 and 1 bps, as on real venues
LOTS_MAX = 10**9  # of one order; so large that it never limits one
NOTIONAL_MIN = Decimal(5)  # USDT, the most frequent minimum order value at venues
# (last rank in the tier, leverage, maintenance margin rate)
LEVERAGE_TIERS = ((10, 75, "0.005"), (50, 50, "0.01"), (10**9, 25, "0.02"))


@attrs.frozen(kw_only=True)
class UniverseSettings:
    """Settings of the generated symbols. Volatilities are daily standard deviations."""

    btc_price: float = 60_000.0  # USDT
    eth_price: float = 3_000.0
    alt_price_median: float = 1.0
    alt_price_log_sd: float = 2.0  # prices from thousandths to hundreds, as at venues
    btc_volatility: float = 0.025  # of the market's first factor
    eth_volatility: float = 0.020  # of its second factor: all symbols without BTC
    alt_volatility: tuple[float, float] = (0.025, 0.055)  # own part, uniform
    alt_beta: tuple[float, float] = (0.7, 1.5)  # to the first factor, uniform
    alt_second_beta: tuple[float, float] = (0.3, 1.0)
    btc_turnover: float = 1.2e10  # USDT a day
    turnover_exponent: float = 1.25  # turnover is that of BTC / rank ** turnover_exponent
    turnover_min: float = 6e6
    half_spread_bps: float = 0.25  # of the first; grows with the square root of rank
    half_spread_max_bps: float = 4.0


@attrs.frozen(kw_only=True, eq=False)
class Universe:
    """Constants of the symbols, each ``[symbols]`` unless noted."""

    instruments: tuple[Instrument, ...]
    log_price: Floats  # the first price, to which later ones are weakly pulled
    loadings: Floats  # [factors, symbols]
    factor_volatility: Floats  # [factors], daily
    volatility: Floats  # own part, daily
    turnover: Floats  # USDT a day
    open_interest: Floats  # at the start, base units
    scale: Floats  # 10 ** decimals of the price
    half_spread_bps: Floats

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols, in the order of every array."""
        return tuple(each.symbol for each in self.instruments)


def make_universe(seed: int, count: int, settings: UniverseSettings) -> Universe:
    """Return ``count`` perpetuals; equal arguments give equal perpetuals."""
    assert count >= 1, f"count = {count}; a market needs at least one symbol"
    rng = np.random.default_rng(np.random.SeedSequence((seed, 1)))
    rank = np.arange(1.0, count + 1)
    price = settings.alt_price_median * np.exp(
        settings.alt_price_log_sd * np.clip(rng.standard_normal(count), -2.5, 2.5)
    )
    price[:2] = (settings.btc_price, settings.eth_price)[:count]
    loadings = np.stack(
        [rng.uniform(*settings.alt_beta, count), rng.uniform(*settings.alt_second_beta, count)]
    )
    loadings[:, :2] = np.array([[1.0, 1.0], [0.0, 1.0]])[:, :count]
    volatility = rng.uniform(*settings.alt_volatility, count)
    volatility[:2] = (0.2 * settings.btc_volatility, 0.5 * settings.eth_volatility)[:count]
    turnover = np.maximum(
        settings.turnover_min,
        settings.btc_turnover / rank**settings.turnover_exponent * rng.uniform(0.7, 1.3, count),
    )
    decimals = SIGNIFICANT_DIGITS - 1 - np.floor(np.log10(price)).astype(int)
    return Universe(
        instruments=tuple(
            _instrument(at, float(price[at]), max(0, int(decimals[at]))) for at in range(count)
        ),
        log_price=np.log(price),
        loadings=loadings,
        factor_volatility=np.array([settings.btc_volatility, settings.eth_volatility]),
        volatility=volatility,
        turnover=turnover,
        open_interest=turnover * rng.uniform(0.3, 1.0, count) / price,
        scale=10.0 ** np.maximum(0, decimals),
        half_spread_bps=np.minimum(
            settings.half_spread_max_bps, settings.half_spread_bps * np.sqrt(rank)
        ),
    )


def _instrument(at: int, price: float, decimals: int) -> Instrument:
    base = ("BTC", "ETH")[at] if at < 2 else f"SYN{at + 1:03d}"
    lot = Decimal(10) ** int(np.floor(-np.log10(price)))  # worth at most one USDT
    leverage, margin = next((tier[1], tier[2]) for tier in LEVERAGE_TIERS if at < tier[0])
    return Instrument(
        symbol=f"{base}{QUOTE}",
        base=base,
        quote=QUOTE,
        tick=Decimal(10) ** -decimals,
        lot=lot,
        contract_size=Decimal(1),
        qty_min=lot,
        qty_max=lot * LOTS_MAX,
        notional_min=NOTIONAL_MIN,
        leverage_max=leverage,
        maintenance_margin_rate=Decimal(margin),
        taker_fee=Decimal("0.0006"),
        maker_fee=Decimal("0.0002"),
        funding_interval_h=8,
    )
