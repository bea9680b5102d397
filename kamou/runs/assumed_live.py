"""The assumed-live gate: every strategy counts as live, and the journal and the pages say so.

``backtest`` uses it, and so does demo mode until there is a real gate. Paper and live never do.
"""

from __future__ import annotations

from kamou.core.record.gate import LiveGrant


class AssumedLiveGate:
    """A gate that grants every strategy full size."""

    label = "assumed"  # its name in `RunStarted` and on the pages

    def is_live(self, strategy: str) -> LiveGrant | None:
        return LiveGrant(strategy=strategy, basis=self.label)
