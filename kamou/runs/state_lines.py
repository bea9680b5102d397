"""What changes what may trade, in one line each: what, why, and by whom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation

from kamou.core.book.events import DriftExplained, DriftFound, Event, StateChanged
from kamou.core.book.operator_events import CommandNoted
from kamou.core.book.strategy_events import StrategyDisabled, StrategyResumed
from kamou.core.codes import MEANINGS, StateReason, describe_cause
from kamou.core.model import NOTE, Figure, TradingState, note_of
from kamou.runtime.levels import warning
from kamou.store.journal import Committed

STALE = "account or marks are too old: no new risk until two fresh reads"
DISABLED = "strategy {} is disabled until the operator resumes it with `kamou resume`"
DIGITS_MAX = 8  # of a figure in a line; a price has fewer
BY_OPERATOR = (StateReason.HUMAN_HALT, StateReason.HUMAN_FLATTEN, StateReason.HUMAN_RESUME)
CHANGES = {
    TradingState.NORMAL: "resumed",
    TradingState.REDUCED: "size reduced",
    TradingState.HALT_NEW: "halted",
    TradingState.FLATTEN: "closing everything",
    TradingState.KILLED: "killed",
}


def announce_states(announce: Callable[[str], None], done: Sequence[Committed]) -> None:
    """Announce every committed change of what may trade."""
    for committed in done:
        line = line_of(committed.event)
        if line is not None:
            announce(line)


def line_of(event: Event) -> str | None:
    """Return a change of what may trade in one line, with its figures; None of other events."""
    match event:
        case StateChanged():
            line = state_line(event)
            return line if event.after is TradingState.NORMAL else warning(line)
        case CommandNoted():
            return noted_line(event)
        case StrategyDisabled():
            why = MEANINGS.get(event.code, event.code)
            line = f"{DISABLED.format(event.strategy)}: {why}"
            return warning(line + in_brackets([event.code, *_texts(event.figures)]))
        case StrategyResumed():
            return f"strategy {event.strategy} may enter again: the operator resumed it"
        case DriftFound():
            figures = in_brackets([event.kind, *_texts(event.figures)])
            return warning(
                f"book and exchange differ on {event.symbol}{figures}: no entry until that is"
                " explained"
            )
        case DriftExplained():
            return f"book and exchange agree again: {event.reason}"
        case _:
            return None


def state_line(event: StateChanged) -> str:
    """Return a change of the trading state in one line: by whom, why, and its figures."""
    cause = cause_of(event.reason, note_of(event.figures))
    if event.reason == StateReason.EQUITY_UNKNOWN.value:
        cause += f" ({STALE})"
    if event.reason not in {reason.value for reason in BY_OPERATOR}:
        by = "supervisor" if event.reason == StateReason.RESTART_STORM.value else "risk governor"
        cause = f"{CHANGES[event.after]} by the {by}: {cause}"
    figures = _texts(tuple(each for each in event.figures if each.name != NOTE))
    change = f"trading state {event.after.value}, before {event.before.value}"
    return f"{cause}; {change}{in_brackets([event.reason, *figures])}"


def noted_line(event: CommandNoted) -> str:
    """Return a command that left the trading state as it was, and why a resume was refused."""
    cause = cause_of(event.reason, event.note)
    if event.reason == StateReason.HUMAN_RESUME.value:
        words = f": {event.note}" if event.note else ""
        if event.refusal:
            refused = f"the operator's resume was refused, because {event.refusal}{words}"
            return warning(f"{refused}; the trading state stays as it was")
        cause = f"the operator asked to resume{words}"
    return f"{cause}; the trading state stays as it was"


def cause_of(reason: str, note: str = "") -> str:
    """Return why a state changed in words, with the operator's own words."""
    words = describe_cause(reason)
    return f"{words}: {note}" if note else words


def in_brackets(parts: Sequence[str]) -> str:
    return f" ({' '.join(parts)})" if parts else ""


def _texts(figures: Sequence[Figure]) -> list[str]:
    return [f"{each.name}={_rounded(each.value)}" for each in figures]


def _rounded(value: str) -> str:
    """Money that was divided, to cents; prices and what is no number stay as they are."""
    try:
        number = Decimal(value)
    except InvalidOperation:
        return value
    long = number.is_finite() and len(number.as_tuple().digits) > DIGITS_MAX
    return f"{number:.2f}" if long else value
