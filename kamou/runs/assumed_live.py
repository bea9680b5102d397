"""The assumed-live gate, which counts every strategy as live.

The journal and the pages show its label. Only backtests and simulations use this gate. An import
contract keeps it out of runs, whose strategies earn their size.
"""

from __future__ import annotations

from kamou.core.book.book_state import BookState
from kamou.core.record.gate import LiveGrant


class AssumedLiveGate:
    """A gate that grants every strategy full size."""

    label = "assumed"  # its name in `RunStarted` and on the pages

    def find_grant(self, strategy: str, _book: BookState) -> LiveGrant | None:
        return LiveGrant(strategy=strategy, basis=self.label)
