"""The drawdowns of an equity curve without transfers, such as that of a backtest.

Without transfers the equity itself is the index of ``core/record/drawdown.py``, so peaks are
compared exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

from kamou.core.record.drawdown import Drawdown, EquityAt


def find_drawdowns(curve: Sequence[EquityAt]) -> tuple[Drawdown, ...]:
    """Return every drawdown of the curve, oldest first.

    The last one may be without a recovery. A drawdown lasts from the newest snapshot at the peak
    to the first one that reaches the peak again. ``Drawdown.snapshots`` counts those below the
    peak. ``curve`` is in the order of time, and its first equity is above 0.
    """
    found: list[Drawdown] = []
    peak_ms, peak = curve[0] if curve else (0, 1.0)
    assert peak > 0, peak
    fall: tuple[int, float] | None = None  # time and depth of the trough so far
    count = 0
    for at_ms, equity in curve:
        if equity < peak:
            depth = equity / peak - 1.0
            count += 1
            if fall is None or depth < fall[1]:
                fall = (at_ms, depth)
            continue
        if fall is not None:
            found.append(_drawdown(peak_ms, fall, at_ms, count))
        (peak_ms, peak), fall, count = (at_ms, equity), None, 0
    if fall is not None:
        found.append(_drawdown(peak_ms, fall, None, count))
    return tuple(found)


def _drawdown(
    peak_ms: int, fall: tuple[int, float], recovery_ms: int | None, count: int
) -> Drawdown:
    trough_ms, value = fall
    return Drawdown(
        value=value,
        peak_ms=peak_ms,
        trough_ms=trough_ms,
        recovery_ms=recovery_ms,
        snapshots=count,
    )


def deepest_drawdown(found: Sequence[Drawdown]) -> Drawdown | None:
    """Return the first drawdown with the largest fall; None without a drawdown."""
    return min(found, key=lambda each: each.value, default=None)


def longest_drawdown(found: Sequence[Drawdown], end_ms: int) -> Drawdown | None:
    """Return the first drawdown with the longest duration; None without a drawdown.

    A drawdown without a recovery lasts until ``end_ms``.
    """
    return max(found, key=lambda each: drawdown_ms(each, end_ms), default=None)


def drawdown_ms(drawdown: Drawdown, end_ms: int) -> int:
    """Return the ms from the peak to the recovery, or to ``end_ms`` without one."""
    assert drawdown.peak_ms is not None
    until_ms = end_ms if drawdown.recovery_ms is None else drawdown.recovery_ms
    return until_ms - drawdown.peak_ms


def depths_below_peak(curve: Sequence[EquityAt]) -> tuple[EquityAt, ...]:
    """Return each snapshot's fall from the highest equity until then.

    A fall is a fraction, 0 or negative. The first equity must be above 0.
    """
    peak, found = 0.0, []
    for at_ms, equity in curve:
        peak = max(peak, equity)
        found.append((at_ms, equity / peak - 1.0))
    return tuple(found)
