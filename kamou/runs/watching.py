"""``Watch``: who follows the progress of a backtest, and may end it early."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from kamou.runtime.leveled_lines import Progress


@attrs.frozen(kw_only=True)
class Watch:
    """Who watches a backtest.

    ``progress`` takes the label ``days``, the number of simulated days done, and their total.
    ``is_stopping`` is asked in each cycle; if it returns True, the backtest ends there, and its
    report says so.
    """

    progress: Progress = lambda _what, _done, _total: None
    is_stopping: Callable[[], bool] = lambda: False


UNWATCHED = Watch()
