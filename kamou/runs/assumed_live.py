"""The assumed-live gate: every strategy counts as live, and what it produced says so.

Composed by ``backtest`` and, until the real gate stands, by demo mode; never by paper or live.
"""

from __future__ import annotations

from kamou.core.record.gate import LiveGrant


class AssumedLiveGate:
    """Grants every strategy full size."""

    label = "assumed"  # what `RunStarted` and the pages call it

    def is_live(self, strategy: str) -> LiveGrant | None:
        return LiveGrant(strategy=strategy, basis=self.label)
