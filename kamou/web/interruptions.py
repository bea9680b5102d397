"""Halts, reduced size, disabled strategies and downtime as one list by time, in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs

from kamou.core.codes import StateReason
from kamou.escaping import escape_text
from kamou.store.latest_events import DisabledSpan
from kamou.store.rows import Downtime
from kamou.store.state_history import HaltPeriod, LoneCommand, Step
from kamou.web import format as fmt
from kamou.web.results import Results

OPEN, CLOSE = "\N{LEFT DOUBLE QUOTATION MARK}", "\N{RIGHT DOUBLE QUOTATION MARK}"
NOTE_CHARS_MAX = 200  # the maximum of the operator's listener


@attrs.frozen(kw_only=True)
class Interruption:
    """One row of the page: a halt, a disabled strategy, a time of reduced size, or downtime."""

    from_ms: int
    until_ms: int | None  # None: it goes on
    what: str
    why: tuple[str, ...]  # one line for each cause, and one for what ended it


def interruptions(results: Results) -> tuple[Interruption, ...]:
    """Return all periods without trading at full size, newest first."""
    found = [
        _of_period(period, holding=results.holding)
        for period in (*results.halts, *results.reduced_size)
    ]
    found += [_of_downtime(gap) for gap in results.downtime]
    inside = [(each.from_ms, each.until_ms or 2**62) for each in found]
    oldest = min((begin for begin, _ in inside), default=0)
    found += [
        Interruption(
            from_ms=command.at_ms,
            until_ms=command.at_ms,
            what=_did(command, results.disabled),
            why=(_said(command, command.reason),),
        )
        for command in results.commands
        if not any(begin <= command.at_ms <= end for begin, end in inside)
        and command.at_ms >= oldest
    ]
    found += [_of_disabled(span) for span in results.disabled]
    return tuple(sorted(found, key=lambda each: each.from_ms, reverse=True))


def _did(command: LoneCommand, disabled: Iterable[DisabledSpan]) -> str:
    """Return the effect of a command that did not change the trading state.

    An older journal may have a flatten outside of any halt: it ran while the system did not.
    """
    if command.reason == StateReason.OPERATOR_FLATTEN.value:
        return "flattened while nothing ran"
    if any(span.until_ms == command.at_ms for span in disabled):
        return "disabled strategies may enter again"
    return "nothing changed"


def _of_period(period: HaltPeriod, *, holding: bool) -> Interruption:
    return Interruption(
        from_ms=period.from_ms,
        until_ms=period.until_ms,
        what=fmt.state(period.state, holding=holding and period.until_ms is None),
        why=tuple(_lines(period)),
    )


def _of_disabled(span: DisabledSpan) -> Interruption:
    return Interruption(
        from_ms=span.from_ms,
        until_ms=span.until_ms,
        what=f"strategy {fmt.words(span.strategy)} disabled: no new trades of it",
        why=(fmt.disabled_for(span.reason),),
    )


def _lines(period: HaltPeriod) -> Iterator[str]:
    first, *later = period.steps
    # A resume, or a new day, may lead from a halt to a reduced size; it is not its cause.
    if period.state == first.state and period.reason != first.reason:
        yield fmt.cause(period.reason)  # without the operator's note, which is of the resume
    else:
        yield _said(first, first.reason)
    left = period.steps_total - len(period.steps)
    if left:
        yield f"{left} more"
    for step in later:
        yield f"{fmt.moment(step.at_ms)}: {_said(step, step.reason)}"
    if period.end is not None:
        yield f"ended: {_said(period.end, period.end.reason)}"


def _said(step: Step | LoneCommand, reason: str) -> str:
    note = escape_text(step.note, chars_max=NOTE_CHARS_MAX)
    return fmt.cause(reason) + (f": {OPEN}{note}{CLOSE}" if note else "")


DOWNTIME = {
    "stop": "stopped by the operator",
    "crash": "ended without warning",
    "sleep": "the machine, or the whole process, stood still",
    "unknown": "it ran, and no cycle closed",
    "skipped": "skipped: a halt cut the fast-forward short",
}


def _of_downtime(gap: Downtime) -> Interruption:
    why = DOWNTIME[gap.cause]
    return Interruption(from_ms=gap.from_ms, until_ms=gap.until_ms, what="downtime", why=(why,))
