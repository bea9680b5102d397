"""Invariant 11: only injected crashes happen, and no process hangs."""

from __future__ import annotations

import traceback

import attrs

from kamou.errors import CallTimeoutError, CallUnavailableError
from kamou.runtime.supervision import ChildExit, ExitKind, RestartStormError
from kamou.simulator.invariants.observed import ReportViolation
from kamou.venue.violations import HardRule

SLOW_S = 90  # time after a crash or a slow commit in which calls without an answer are excused


@attrs.define
class Crashes:
    """The checks of how children and processes end."""

    report: ReportViolation
    injected: type[Exception]  # the error that the simulation raises in actors
    disturbed_ms: int = 0  # when a crash or slow disk last excused a failed call

    def check_exit(self, exit_: ChildExit, now_ms: int) -> None:
        """Check that a child is not stuck and crashed only for an allowed reason.

        Allowed are an injected crash, and what follows from one or from a slow commit.
        """
        if exit_.kind is ExitKind.STUCK:
            self.report(HardRule.STUCK, now_ms, "", exit_.child)
        if exit_.kind is not ExitKind.CRASHED:
            return
        error = exit_.error
        causes = _leaves(error)
        if all(isinstance(cause, self.injected) for cause in causes):
            self.disturbed_ms = now_ms
            return
        follows = (self.injected, CallUnavailableError, CallTimeoutError, RestartStormError)
        lately = now_ms - self.disturbed_ms <= SLOW_S * 1000
        if lately and all(isinstance(cause, follows) for cause in causes):
            self.disturbed_ms = now_ms
            return
        self.report(HardRule.CRASH, now_ms, "", f"{exit_.child}: {error!r}{_where(error)}")

    def report_stuck(self, error: BaseException, now_ms: int) -> None:
        """Report a process whose tasks kept working while no time passed."""
        self.report(HardRule.STUCK, now_ms, "", repr(error))

    def report_escaped(self, error: BaseException, now_ms: int) -> None:
        """Report an error out of the composition root, which crashes the whole process."""
        where = "".join(traceback.format_exception(error)[-6:])
        self.report(HardRule.ESCAPED, now_ms, "", f"{error!r}\n{where}")


def _leaves(error: BaseException | None) -> tuple[BaseException | None, ...]:
    """Return the single errors of a group, because crashes may strike several tasks."""
    if not isinstance(error, BaseExceptionGroup):
        return (error,)
    return tuple(leaf for each in error.exceptions for leaf in _leaves(each))


def _where(error: Exception | None) -> str:
    """Return Kamou's innermost line in the traceback, as " at FILE:LINE"; else ""."""
    trail = error.__traceback__ if error is not None else None
    where = ""
    while trail is not None:
        code = trail.tb_frame.f_code
        if "/kamou/" in code.co_filename:
            where = f" at {code.co_filename.rpartition('/kamou/')[2]}:{trail.tb_lineno}"
        trail = trail.tb_next
    return where
