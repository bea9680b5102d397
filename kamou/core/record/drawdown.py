"""The maximum drawdown of the equity record, with its dates.

It is the largest fall of a time-weighted index over all equity snapshots. The index is the product
of each snapshot's equity over the previous one's. A transfer (a deposit or a withdrawal) divides
the period between two snapshots, so it is neither a gain nor a loss. If the equity just before the
transfer is unknown, the transfer's amount is subtracted from the later snapshot.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

EquityAt = tuple[int, float]  # time in ms, equity
TransferAt = tuple[int, float, float | None]
"""Time in ms; amount, positive for a deposit; equity just before it, None if unknown."""


@attrs.frozen(kw_only=True)
class Drawdown:
    """A fall of the index from an earlier peak; of ``DrawdownFold`` the largest one.

    ``value`` is a fraction, 0 or negative. Without a fall the times are None. ``recovery_ms`` is
    the time at which the index reached the peak again; None if it has not. ``snapshots`` is the
    number of all equity snapshots that were read (of ``find_drawdowns``: of those below the peak).
    """

    value: float = 0.0
    peak_ms: int | None = None
    trough_ms: int | None = None
    recovery_ms: int | None = None
    snapshots: int = 0


@attrs.frozen(kw_only=True)
class DrawdownFold:
    """State of the computation after some snapshots; later snapshots continue it."""

    found: Drawdown = Drawdown()
    last: EquityAt | None = None
    index: float = 1.0
    peak: tuple[int, float] = (0, 1.0)  # time in ms, and the index then
    deepest_peak: float = 1.0  # the index at ``found.peak_ms``

    def add_snapshots(
        self, snapshots: Iterable[EquityAt], transfers: Sequence[TransferAt]
    ) -> DrawdownFold:
        """Return the state after later snapshots and the transfers among them.

        Snapshots and transfers are in the order of time.
        """
        last, index, peak, found = self.last, self.index, self.peak, self.found
        deepest_peak, count = self.deepest_peak, found.snapshots
        pending = [t for t in transfers if last is None or t[0] > last[0]]
        at = 0
        for at_ms, equity in snapshots:
            count += 1
            moved, base = 0.0, 0.0 if last is None else last[1]
            while at < len(pending) and pending[at][0] <= at_ms:
                _, amount, before = pending[at]
                at += 1
                if before is None:
                    moved += amount
                    continue
                if base > 0:
                    index *= (before - moved) / base
                base, moved = before + amount, 0.0  # 0 or less: the index does not change
            if last is None:
                peak = (at_ms, index)
            elif base > 0:
                index *= (equity - moved) / base
            last = (at_ms, equity)
            if found.trough_ms is not None and found.recovery_ms is None and index >= deepest_peak:
                found = attrs.evolve(found, recovery_ms=at_ms)
            if index >= peak[1]:
                peak = (at_ms, index)
            elif index / peak[1] - 1.0 < found.value:
                deepest_peak = peak[1]
                found = Drawdown(
                    value=index / peak[1] - 1.0, peak_ms=peak[0], trough_ms=at_ms, recovery_ms=None
                )
        return DrawdownFold(
            found=attrs.evolve(found, snapshots=count),
            last=last,
            index=index,
            peak=peak,
            deepest_peak=deepest_peak,
        )
