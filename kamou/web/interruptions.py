"""The list of interruptions of trading, and of commands that changed no state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs

from kamou.core.codes import StateReason
from kamou.escaping import escape_text
from kamou.store.latest_events import DisabledSpan
from kamou.store.rows import Downtime, DowntimeCause
from kamou.store.state_history import HaltPeriod, LoneCommand, Step
from kamou.web import format as fmt
from kamou.web.results import Results

OPEN, CLOSE = "\N{LEFT DOUBLE QUOTATION MARK}", "\N{RIGHT DOUBLE QUOTATION MARK}"
NOTE_CHARS_MAX = 200  # as REASON_CHARS_MAX of the operator's listener


@attrs.frozen(kw_only=True)
class Interruption:
    """One row of the list, in words."""

    from_ms: int
    until_ms: int | None  # None: it has not ended
    what: str
    why: tuple[str, ...]  # its causes (of many the first and the newest) and its end


def interruptions(results: Results) -> tuple[Interruption, ...]:
    """Return the listed periods without trading at full size, newest first.

    Operator commands that changed no trading state are in the list, too, if they are outside of all
    listed halts, periods of reduced size and downtimes, and not before the oldest of these.
    """
    found = [
        _from_period(period, holding=results.holding)
        for period in (*results.halts, *results.reduced_size)
    ]
    found += [_from_downtime(gap) for gap in results.downtime]
    inside = [(each.from_ms, each.until_ms or 2**62) for each in found]
    oldest = min((begin for begin, _ in inside), default=0)
    found += [
        Interruption(
            from_ms=command.at_ms,
            until_ms=command.at_ms,
            what=_effect_of(command, results.disabled),
            why=(_cause_line(command, command.reason),),
        )
        for command in results.commands
        if not any(begin <= command.at_ms <= end for begin, end in inside)
        and command.at_ms >= oldest
    ]
    found += [_from_disabled(span) for span in results.disabled]
    return tuple(sorted(found, key=lambda each: each.from_ms, reverse=True))


def _effect_of(command: LoneCommand, disabled: Iterable[DisabledSpan]) -> str:
    """Return the effect of a command that did not change the trading state.

    An older journal may have a flatten outside of any halt: `kamou flatten` while no run was up.
    """
    if command.reason is StateReason.OPERATOR_FLATTEN:
        return "flattened while no run was up"
    if any(span.until_ms == command.at_ms for span in disabled):
        return "disabled strategies may enter again"
    return "nothing changed"


def _from_period(period: HaltPeriod, *, holding: bool) -> Interruption:
    return Interruption(
        from_ms=period.from_ms,
        until_ms=period.until_ms,
        what=fmt.state(period.state, holding=holding and period.until_ms is None),
        why=tuple(_cause_lines(period)),
    )


def _from_disabled(span: DisabledSpan) -> Interruption:
    return Interruption(
        from_ms=span.from_ms,
        until_ms=span.until_ms,
        what=f"strategy {fmt.words(span.strategy)} disabled: no new trades of it",
        why=(fmt.disabled_for(span.reason),),
    )


def _cause_lines(period: HaltPeriod) -> Iterator[str]:
    """Yield lines for the causes of a period, and one for its end if it has ended."""
    first, *later = period.steps
    # A resume, or a new day, may lead from a halt to a reduced size, but is not the cause of it.
    if period.state == first.state and period.reason != first.reason:
        yield fmt.cause(period.reason)  # without the operator's note, which belongs to the resume
    else:
        yield _cause_line(first, first.reason)
    left = period.steps_total - len(period.steps)
    if left:
        yield f"{left} more {fmt.nouns(left, 'cause')}"
    for step in later:
        yield f"{fmt.moment(step.at_ms)}: {_cause_line(step, step.reason)}"
    if period.end is not None:
        yield f"ended: {_cause_line(period.end, period.end.reason)}"


def _cause_line(step: Step | LoneCommand, reason: StateReason) -> str:
    """Return the reason in words, with the operator's note in quotation marks."""
    note = escape_text(step.note, chars_max=NOTE_CHARS_MAX)
    return fmt.cause(reason) + (f": {OPEN}{note}{CLOSE}" if note else "")


DOWNTIME = {
    DowntimeCause.STOP: "stopped by the operator",
    DowntimeCause.CRASH: "ended without warning",
    DowntimeCause.SLEEP: "the machine, or the whole process, stood still",
    DowntimeCause.UNKNOWN: "Kamou ran, but no cycle closed",
    DowntimeCause.SKIPPED: "skipped: a halt cut the fast-forward short",
}


def _from_downtime(gap: Downtime) -> Interruption:
    why = DOWNTIME[gap.cause]
    return Interruption(from_ms=gap.from_ms, until_ms=gap.until_ms, what="downtime", why=(why,))
