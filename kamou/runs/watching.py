"""``Watch``: functions that follow a backtest's progress, and may end it early."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from kamou.runtime.leveled_lines import Progress


@attrs.frozen(kw_only=True)
class Watch:
    """Functions that a backtest calls in each cycle.

    ``progress`` takes the label ``days``, the number of simulated days done, and their total. If
    ``is_stopping`` returns True, the backtest ends, and its report says that it was interrupted.
    """

    progress: Progress = lambda _what, _done, _total: None
    is_stopping: Callable[[], bool] = lambda: False


UNWATCHED = Watch()
