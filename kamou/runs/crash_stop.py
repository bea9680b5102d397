"""``CrashStop``, which ends a backtest at the first crash of an actor."""

from __future__ import annotations

import traceback

import attrs
import trio

from kamou.errors import KamouError
from kamou.runs.crash_lines import find_place
from kamou.runs.strategy_failures import TRACE_BAR
from kamou.runtime.supervision import ChildExit, ExitKind


class ActorCrashedError(KamouError):
    """An actor crashed in a backtest, which ended at the crash without a report."""


@attrs.define(eq=False)
class CrashStop:
    """Recorder of the first crash of an actor in a backtest, which cancels ``scope``.

    A restarted actor would miss the cycles during its back-off, so the report would leave out a
    part of the recorded market.
    """

    scope: trio.CancelScope = attrs.field(init=False, factory=trio.CancelScope)
    _first: ActorCrashedError | None = attrs.field(init=False, default=None)

    def record_exit(self, exit_: ChildExit) -> None:
        """Cancel the scope at the first crash; do nothing for other exits."""
        if exit_.kind is ExitKind.CRASHED and self._first is None:
            self._first = make_crash_error(exit_)
            self.scope.cancel()

    def raise_first(self) -> None:
        """Raise the error of the crash that cancelled the scope, if there was one.

        Raises:
            ActorCrashedError: with the text of ``make_crash_error``.
        """
        if self._first is not None:
            raise self._first from None


def make_crash_error(exit_: ChildExit) -> ActorCrashedError:
    """Return the error that ends a backtest, with the actor and the actor's error.

    The text has the place and the traceback too, unless the actor's error is a ``KamouError``.
    """
    name, error = f"{exit_.supervisor}/{exit_.child}", exit_.error
    first = f"the backtest stopped because {name} crashed"
    if isinstance(error, KamouError):
        return ActorCrashedError(f"{first}: {error.args[0] if error.args else ''}", *error.args[1:])
    lines = [f"{first}: {error!r}, at {find_place(error)}"]
    trace = "".join(traceback.format_exception(error)).splitlines() if error is not None else []
    lines += [f"{TRACE_BAR}{line}" for line in trace]
    return ActorCrashedError(*lines, "the backtest has no report; open an issue with these lines")
