"""Order flow, ratio fade and funding fade, from the figures of their sources."""

from __future__ import annotations

import numpy as np
from medians import kernel
from prices import ADX, ATR, FLAT, is_extreme, put


@kernel
def flow_with(out, t, closes, states, figures, ratio):
    for s in range(len(closes)):
        by_trades = np.isnan(figures[0, s])
        z = figures[1, s] if by_trades else figures[0, s]
        atr = states[s, ATR]
        known = atr > FLAT * closes[s, t] and not np.isnan(z)
        wide = figures[2, s] > 1000.0 * figures[3, s]
        if known and not wide and abs(z) >= 0.0:
            near = atr * ratio
            put(out, s, np.tanh(z / 2.0), 0.7 if by_trades else 1.0, 1.5 * near, 3.0 * near)


@kernel
def fade_ratios(out, t, bars, states, efficiency, z):
    for s in range(len(z)):
        atr = states[s, ATR]
        known = atr > FLAT * bars[3, s, t] and np.isfinite(states[s, ADX] + efficiency[s])
        exhausted = not is_extreme(bars[1, s], bars[2, s], t, z[s])
        calm = efficiency[s] < 1000.0 and (states[s, ADX] < 1000.0 or exhausted)
        if known and abs(z[s]) >= 0.0 and calm:
            put(out, s, -np.tanh(z[s] / 2.0), 1.0, 1.5 * atr, 3.0 * atr)


@kernel
def fade_funding(out, t, bars, states, efficiency, funding, change, ratio):
    for s in range(len(efficiency)):
        z, hourly, atr = funding[0, s], funding[1, s], states[s, ATR]
        known = atr > FLAT * bars[3, s, t] and np.isfinite(states[s, ADX] + efficiency[s])
        apr = 100.0 * hourly * 8760.0
        outside = abs(hourly * 8 / 1e-4 - 1.0) > 0.001
        extreme = abs(apr) > 0.0 and outside and z * apr > 0
        strong = efficiency[s] > 1000.0 and states[s, ADX] > 1000.0
        confirmed = not is_extreme(bars[1, s], bars[2, s], t, apr) or change[s] < 0
        if known and extreme and not strong and confirmed:
            near = atr * ratio
            put(out, s, -np.tanh(z / 2.0), 0.7, 2.0 * near, 3.5 * near)
