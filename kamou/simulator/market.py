"""The simulated market, with one price per second and symbol.

Each second is a bar, and its price is valid until the next. Ranges and trends of some minutes
follow each other in each symbol, so the strategies signal often. After ``freeze_ms`` no price
moves by itself.
"""

from __future__ import annotations

from decimal import Decimal

import attrs
import numpy as np

from kamou.core.arrays import Floats
from kamou.core.day import DAY_MS, HOUR_MS
from kamou.core.indicators.order_flow import SPREAD, TRADE_IMBALANCE, WINDOW_FIGURES
from kamou.core.market.bars import Bars, Segment, Series, empty_series, resample
from kamou.core.market.flow import FLOW_WINDOW_MS, FlowWindows, empty_flow
from kamou.core.model import Instrument
from kamou.simulator.simulated_flow import SimulatedWalk

D = Decimal
STEP_MS = 1_000
OPEN_INTEREST_MS = HOUR_MS


@attrs.frozen(kw_only=True)
class MarketSettings:
    """Settings of the price paths.

    Rates are per second, in fractions of the price, unless noted.
    """

    volatility: float = 0.0005  # a range of about 0.5 % a minute, so trades end within minutes
    pull: float = 0.01  # towards the mean of a range, with a half-life of a minute
    drift: float = 0.00008  # of a trend
    regime_s: int = 900  # mean length of a regime
    volume: float = 20_000.0  # USDT per second, median; an order of 1,500 USDT fits within a tenth
    volume_deviation: float = 0.6  # of its logarithm
    thin_share: float = 0.0  # share of the seconds with almost no volume, for partial fills
    gap_per_hour: float = 0.6  # mean number of jumps per symbol
    gap_size: float = 0.02  # standard deviation of a jump
    all_sources: bool = False  # True: it has long/short ratios, premium and order flow


def instrument(index: int) -> Instrument:
    """Return the instrument of a column, with sizes that differ between columns."""
    tick, lot, size = (
        (D("0.01"), D("0.001"), D(1)),
        (D("0.1"), D(1), D("0.001")),
        (D("0.0001"), D(1), D(10)),
        (D("0.001"), D("0.1"), D(1)),
    )[index % 4]
    base = ("BTC", "ETH")[index] if index < 2 else f"S{index:02}"
    return Instrument(
        symbol=f"{base}USDT",
        base=base,
        quote="USDT",
        tick=tick,
        lot=lot,
        contract_size=size,
        qty_min=lot,
        qty_max=D(10_000_000),
        notional_min=D(5),
        leverage_max=20,
        maintenance_margin_rate=D("0.005"),
        taker_fee=D("0.0006"),
        maker_fee=D("0.0002"),
    )


class SimulatedMarket:
    """A ``MarketSource`` in memory.

    Faults may change its ``instruments`` and prices.
    """

    def __init__(
        self,
        *,
        seed: int,
        first_ms: int,
        last_ms: int,
        symbols: int,
        settings: MarketSettings,
        freeze_ms: int,
    ) -> None:
        self.first_ms, self.last_ms = first_ms, last_ms
        self.step_ms = STEP_MS
        self.instruments = tuple(instrument(index) for index in range(symbols))
        self.symbols = tuple(i.symbol for i in self.instruments)
        seconds = (last_ms - first_ms) // STEP_MS + 1
        chance = np.random.default_rng([seed, 0x6B616D6F75])
        frozen = (freeze_ms - first_ms) // STEP_MS
        starts = (100.0, 2000.0, 3.0, 40.0)
        logs = np.stack([_path(chance, seconds, frozen, settings) for _ in self.symbols], axis=1)
        self._price: Floats = np.array([starts[i % 4] for i in range(symbols)]) * np.exp(logs)
        volume = np.exp(settings.volume_deviation * chance.standard_normal(logs.shape))
        thin = chance.random(logs.shape) < settings.thin_share
        self._volume: Floats = settings.volume * np.where(thin, 0.004, volume) / self._price
        self._half_spread = 1.0 + chance.random(symbols)
        self._nothing = np.full(symbols, np.nan)
        self._none = np.zeros(symbols)
        self._last: tuple[int, Segment] = (-1, self._still(0))
        hours = seconds // 3600 + 2
        self._open_interest = np.exp(0.01 * chance.standard_normal((hours, symbols)))
        self._ratios: Floats | None = None
        if settings.all_sources:
            self._ratios = np.exp(0.1 * chance.standard_normal((hours, symbols)))
            self._premium: Floats = 0.0005 * chance.standard_normal((hours, symbols))
            windows = (last_ms - first_ms) // FLOW_WINDOW_MS + 1
            self._flow: Floats = chance.standard_normal((windows, WINDOW_FIGURES, symbols))
            self._flow[:, TRADE_IMBALANCE] = np.tanh(self._flow[:, TRADE_IMBALANCE])
            self._flow[:, SPREAD] = 2 * self._half_spread

    def delist(self, symbol: str, at_ms: int) -> None:
        """End the symbol's market: from ``at_ms`` on it has no price, bars or volume."""
        column = self.symbols.index(symbol)
        row = self._row(at_ms)
        self._price[row:, column] = np.nan
        self._volume[row:, column] = np.nan
        self._last = (-1, self._last[1])

    def jump(self, symbol: str, at_ms: int, factor: float) -> None:
        """Multiply all prices from ``at_ms`` on by ``factor``."""
        self._price[self._row(at_ms) :, self.symbols.index(symbol)] *= factor
        self._last = (-1, self._last[1])

    def _row(self, at_ms: int) -> int:
        return min(len(self._price) - 1, max(0, (at_ms - self.first_ms) // STEP_MS))

    # --- methods of a MarketSource -----------------------------------------------

    def half_spread_bps(self, _at_ms: int) -> Floats:
        return self._half_spread

    def prices(self, at_ms: int) -> Floats:
        """Return the prices of the second that contains the instant, ``[symbols]``."""
        prices: Floats = self._price[self._row(at_ms)]
        return prices

    def segment(self, from_ms: int, to_ms: int) -> Segment:
        """Return the segment of the seconds that begin in ``(from_ms, to_ms]``.

        Without such a second it has the last price and a volume of 0.
        """
        first, last = self._row(from_ms) + 1, self._row(to_ms)
        if last < first:
            return self._still(last)
        if last == first:
            if self._last[0] != last:
                self._last = (last, self._second(last))
            return self._last[1]
        rows = slice(first, last + 1)
        return Segment(
            open=self._price[first],
            high=self._price[rows].max(axis=0),
            low=self._price[rows].min(axis=0),
            close=self._price[last],
            volume=self._volume[rows].sum(axis=0),
            range_atr=self._nothing,
        )

    def _second(self, row: int) -> Segment:
        price = self._price[row]
        return Segment(
            open=price,
            high=price,
            low=price,
            close=price,
            volume=self._volume[row],
            range_atr=self._nothing,
        )

    def _still(self, row: int) -> Segment:
        return attrs.evolve(self._second(row), volume=self._none)

    def bars(self, period_ms: int, since_ms: int, until_ms: int) -> Bars:
        since_ms = max(since_ms, self.first_ms)
        first = -((self.first_ms - since_ms) // STEP_MS)
        last = max(first, (until_ms - self.first_ms) // STEP_MS)
        rows = slice(first, last)
        price = self._price[rows]
        seconds = Bars(
            symbols=self.symbols,
            period_ms=STEP_MS,
            open_ms=self.first_ms + STEP_MS * np.arange(first, first + len(price), dtype=np.int64),
            open=price,
            high=price,
            low=price,
            close=price,
            volume=self._volume[rows],
        )
        return resample(seconds, period_ms)

    def open_interest(self, since_ms: int, until_ms: int) -> Series:
        return self._hourly(self._open_interest, since_ms, until_ms)

    def _hourly(self, values: Floats, since_ms: int, until_ms: int) -> Series:
        """Return the rows of ``values``, one an hour, that are available in the period."""
        first = max(0, (since_ms - self.first_ms) // OPEN_INTEREST_MS)
        last = min(len(values) - 1, (until_ms - self.first_ms) // OPEN_INTEREST_MS)
        if last <= first:
            return empty_series(self.symbols, OPEN_INTEREST_MS)
        hours = np.arange(first + 1, last + 1, dtype=np.int64)
        return Series(
            symbols=self.symbols,
            available_ms=self.first_ms + OPEN_INTEREST_MS * hours,
            values=values[first + 1 : last + 1],
            period_ms=OPEN_INTEREST_MS,
        )

    def funding_rates(self, since_ms: int, until_ms: int) -> Series:
        """Return hourly rates as fractions, so that a simulated hour has a settlement."""
        first = -(-(since_ms + 1) // HOUR_MS)
        hours = np.arange(first, until_ms // HOUR_MS + 1, dtype=np.int64)
        if not len(hours):
            return empty_series(self.symbols, HOUR_MS)
        wave = np.sin(hours[:, np.newaxis] * 1.7 + np.arange(len(self.symbols)))
        return Series(
            symbols=self.symbols,
            available_ms=hours * HOUR_MS,
            values=0.0002 * wave,
            period_ms=HOUR_MS,
        )

    def long_short_ratios(self, since_ms: int, until_ms: int) -> Series:
        if self._ratios is None:
            return empty_series(self.symbols, DAY_MS)
        return self._hourly(self._ratios, since_ms, until_ms)

    def premium_index(self, since_ms: int, until_ms: int) -> Series:
        if self._ratios is None:
            return empty_series(self.symbols, DAY_MS)
        return self._hourly(self._premium, since_ms, until_ms)

    def walk_flow(self, symbols: tuple[str, ...]) -> SimulatedWalk:
        """Return a walk of quotes and trades, which follow no price of this market."""
        return SimulatedWalk(np.array([self.symbols.index(symbol) for symbol in symbols]))

    def flow_windows(self, since_ms: int, until_ms: int) -> FlowWindows:
        if self._ratios is None:
            return empty_flow(self.symbols)
        zero = -(-self.first_ms // FLOW_WINDOW_MS)  # number of the first window's end
        first = max(zero, since_ms // FLOW_WINDOW_MS + 1)
        last = min(zero + len(self._flow) - 1, until_ms // FLOW_WINDOW_MS)
        ends = np.arange(first, max(first, last + 1), dtype=np.int64)
        return FlowWindows(
            symbols=self.symbols,
            end_ms=ends * FLOW_WINDOW_MS,
            values=self._flow[ends - zero],
        )


def _path(
    chance: np.random.Generator, seconds: int, frozen: int, settings: MarketSettings
) -> Floats:
    """Return one symbol's log prices: ranges, trends, jumps; constant from ``frozen``."""
    noise = settings.volatility * chance.standard_normal(seconds)
    jumps = chance.random(seconds) < settings.gap_per_hour / 3600
    noise += np.where(jumps, settings.gap_size * chance.standard_normal(seconds), 0.0)
    path = np.zeros(seconds)
    at, level = 0, 0.0
    while at < seconds:
        length = 60 + int(chance.exponential(settings.regime_s))
        until = min(seconds, at + length)
        trending = chance.random() < 0.4
        steps = noise[at:until]
        if trending:
            sign = 1.0 if chance.random() < 0.5 else -1.0
            path[at:until] = level + np.cumsum(steps + sign * settings.drift)
        else:
            path[at:until] = level + _pulled(steps, settings.pull)
        level = path[until - 1]
        at = until
    if frozen < seconds:
        path[frozen:] = path[max(0, frozen - 1)]
    return path


def _pulled(steps: Floats, pull: float) -> Floats:
    """Return the path x[t] = (1 - pull) x[t-1] + step[t].

    It is computed in blocks, so that no power underflows.
    """
    kept = 1.0 - pull
    out = np.empty_like(steps)
    last = 0.0
    block = 512
    powers = kept ** np.arange(1, block + 1)
    for at in range(0, len(steps), block):
        part = steps[at : at + block]
        scale = powers[: len(part)]
        out[at : at + len(part)] = scale * (last + np.cumsum(part / scale))
        last = out[at + len(part) - 1]
    return out
