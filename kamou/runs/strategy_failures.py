"""Failures of strategies: the error of a backtest, and the counts of a run."""

from __future__ import annotations

import traceback
from collections.abc import Callable

import attrs
import trio

from kamou.core.day import show_utc
from kamou.core.market import panel_view
from kamou.core.record.backtest_document import FailureReport
from kamou.core.strategies.evaluation import StrategyFailure
from kamou.errors import KamouError
from kamou.runtime.leveled_lines import error_line

TRACE_BAR = "| "  # at the left of lines that are not Kamou's
FAILURES_MAX = 100  # strategies, kinds and places that are counted; further ones are not


class StrategyFailedError(KamouError):
    """A strategy failed in a backtest, which ended at the failure without a report."""


def make_error(failure: StrategyFailure) -> StrategyFailedError:
    """Return the error that ends a backtest, with the traceback of the strategy."""
    where = f", symbol {failure.symbol}" if failure.symbol else ""
    lines = [
        f"the strategy {failure.strategy} failed at the bar that closed at"
        f" {show_utc(failure.bar_closed_at_ms)}{where}: {failure.summary}"
    ]
    lines += [f"{TRACE_BAR}{line}" for line in format_trace(failure)]
    lines.append(
        f"correct {failure.file}:{failure.line}, or pass --keep-going to count such failures"
    )
    return StrategyFailedError(*lines)


def format_trace(failure: StrategyFailure) -> list[str]:
    """Return the lines of the traceback from the strategy's frame on.

    There are none if the failure has no traceback. The last frames are left out if they are those
    of Kamou's ``PanelView``.
    """
    if failure.trace is None:
        return []
    frames = traceback.extract_tb(failure.trace)
    while len(frames) > 1 and frames[-1].filename == panel_view.__file__:
        frames.pop()
    text = ["Traceback (most recent call last):\n", *traceback.format_list(frames)]
    text += traceback.format_exception_only(failure.error)
    return "".join(text).splitlines()


@attrs.define(eq=False)
class StrategyFailures:
    """Counter of a run's strategy failures, by strategy, kind and place.

    It announces the first failure of each, up to ``FAILURES_MAX``.
    """

    announce: Callable[[str], None] = lambda _line: None
    _reports: dict[tuple[str, str, str], FailureReport] = attrs.Factory(dict)

    def record(self, failure: StrategyFailure) -> None:
        """Count one failure; announce the first of each strategy, kind and place.

        If ``FAILURES_MAX`` of these are known, a failure of another one is neither counted nor
        announced.
        """
        key = (failure.strategy, str(failure.kind), failure.place)
        known = self._reports.get(key)
        if known is not None:
            known["count"] += 1
            known["last_at_ms"] = failure.bar_closed_at_ms
            return
        if len(self._reports) >= FAILURES_MAX:
            return
        self._reports[key] = {
            "strategy": failure.strategy,
            "kind": str(failure.kind),
            "place": failure.place,
            "count": 1,
            "error": failure.summary,
            "symbol": failure.symbol,
            "first_at_ms": failure.bar_closed_at_ms,
            "last_at_ms": failure.bar_closed_at_ms,
        }
        self.announce(
            error_line(
                f"the strategy {failure.strategy} failed at {failure.place}: {failure.summary}; it"
                " abstains at each bar at which it fails; `kamou status` counts these failures"
            )
        )

    def reports(self) -> list[FailureReport]:
        """Return the counts in the order of the first failures."""
        return [report.copy() for report in self._reports.values()]


@attrs.define(kw_only=True, eq=False)
class FailureStop:
    """Counter of a backtest's strategy failures.

    Without ``keep_going`` the first failure cancels ``scope``.
    """

    keep_going: bool
    counted: StrategyFailures = attrs.field(init=False, factory=StrategyFailures)
    scope: trio.CancelScope = attrs.field(init=False, factory=trio.CancelScope)
    _first: StrategyFailedError | None = attrs.field(init=False, default=None)

    def record(self, failure: StrategyFailure) -> None:
        """Count the failure; without ``keep_going``, cancel the scope at the first."""
        self.counted.record(failure)
        if not self.keep_going and self._first is None:
            self._first = make_error(failure)
            self.scope.cancel()

    def raise_first(self) -> None:
        """Raise the error of the failure that cancelled the scope, if one did.

        Raises:
            StrategyFailedError: with the traceback of the strategy's file.
        """
        if self._first is not None:
            raise self._first from None
