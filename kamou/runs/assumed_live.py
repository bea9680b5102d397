"""The assumed-live gate, which counts every strategy as live.

The journal and the pages show its label. ``backtest`` uses this gate, and so does demo mode until
there is a real gate. Paper and live modes never use it.
"""

from __future__ import annotations

from kamou.core.book.book_state import BookState
from kamou.core.record.gate import LiveGrant


class AssumedLiveGate:
    """A gate that grants every strategy full size."""

    label = "assumed"  # its name in `RunStarted` and on the pages

    def find_grant(self, strategy: str, _book: BookState) -> LiveGrant | None:
        return LiveGrant(strategy=strategy, basis=self.label)
