"""One-line texts for events about trading states, strategies and drift.

The events are changes of the trading state, the operator's commands, disabled and resumed
strategies, and drift. Each text says what happened, and why if the event has a reason.
"""

from __future__ import annotations

from kamou.core.book.events import DriftExplained, DriftFound, Event, StateChanged
from kamou.core.book.operator_events import CommandRecorded
from kamou.core.book.strategy_events import StrategyDisabled, StrategyResumed
from kamou.core.codes import MEANINGS, StateReason
from kamou.core.model import TradingState, find_note
from kamou.core.words import (
    DRIFTS,
    describe_cause,
    describe_state,
    figures_words,
    state_cause,
    strategy_name,
)
from kamou.operator.phases import RunPhase
from kamou.runtime.leveled_lines import warning_line

FRESH = "no entries until two fresh reads and a clean reconciliation"
STALE = f"account or marks are too old: {FRESH}"
DISABLED = "strategy {} is disabled until the operator resumes it with `kamou resume`"
NOT_TRADING = {
    RunPhase.STARTING: "not trading yet: the run is starting",
    RunPhase.FAST_FORWARD: "not trading yet: the run fast-forwards through simulated or recorded"
    " days",
    RunPhase.TRADING: "the run cannot read the journal",
    RunPhase.REPLAYED: "not trading: the replay has ended",
    RunPhase.STOPPING: "no longer trading: the run is stopping",
}
"""Why a run does not trade, by its phase."""
BY_OPERATOR = (StateReason.OPERATOR_HALT, StateReason.OPERATOR_FLATTEN, StateReason.OPERATOR_RESUME)
AGREE = "book and venue agree again"  # the reason in `DriftExplained` that the line already says
CHANGES = {
    TradingState.ACTIVE: "resumed",
    TradingState.REDUCED_SIZE: "size reduced",
    TradingState.REDUCE_ONLY: "halted",
    TradingState.FLATTENING: "closing everything",
}


def describe_event(event: Event) -> str | None:
    """Return one line about an event; None for an event without a line."""
    match event:
        case StateChanged():
            line = describe_state_change(event)
            return line if event.after is TradingState.ACTIVE else warning_line(line)
        case CommandRecorded():
            return describe_command(event)
        case StrategyDisabled():
            why = MEANINGS.get(event.code, event.code)
            line = f"{DISABLED.format(strategy_name(event.strategy))}: {why}"
            return warning_line(line + add_brackets(figures_words(event.figures, event.code)))
        case StrategyResumed():
            return (
                f"strategy {strategy_name(event.strategy)} may enter again: the operator resumed it"
            )
        case DriftFound():
            kind = DRIFTS.get(event.kind, event.kind)
            found = f"{kind}: {figures_words(event.figures)}".removesuffix(": ")
            where = f"book and exchange differ on {event.symbol} ({found})"
            return warning_line(f"{where}: no entry until the difference is explained")
        case DriftExplained():
            more = "" if event.reason == AGREE else f": {event.reason}"
            return f"book and exchange agree again{more}"
        case _:
            return None


def describe_state_change(event: StateChanged) -> str:
    """Return one line about a change of the trading state.

    It has who changed the state, the reason with its figures and note, and both states.
    """
    words, *step = state_cause(event.after, event.reason).split("; ")
    words = append_note(words, find_note(event.figures))
    words += add_brackets(figures_words(event.figures, event.reason))
    cause = "; ".join([words, *step])
    if event.reason not in BY_OPERATOR:
        by = "supervisor" if event.reason is StateReason.RESTART_STORM else "risk governor"
        cause = f"{CHANGES[event.after]} by the {by}: {cause}"
    if event.reason is StateReason.EQUITY_UNKNOWN:
        cause += f": {FRESH}"
    after = describe_state(event.after)
    return f"{cause}; trading state {after}; before {event.before}"


def describe_command(event: CommandRecorded) -> str:
    """Return one line about a command that left the trading state as it was.

    The line is a warning if the governor denied a resume.
    """
    cause = append_note(describe_cause(event.reason), event.note)
    if event.reason is StateReason.OPERATOR_RESUME:
        words = f": {event.note}" if event.note else ""
        if event.refusal:
            refused = f"the operator's resume was denied, because {event.refusal}{words}"
            return warning_line(f"{refused}; the trading state stays as it was")
        cause = f"the operator asked to resume{words}"
    return f"{cause}; the trading state stays as it was"


def append_note(words: str, note: str) -> str:
    """Return the words with the operator's note after them, if there is one."""
    return f"{words}: {note}" if note else words


def add_brackets(words: str) -> str:
    """Return the words in brackets after a space; empty for no words."""
    return f" ({words})" if words else ""
