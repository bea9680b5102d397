"""Periods of halts and of reduced size, and commands that changed no state.

A period has its causes, the operator's notes and its end. A halt is a period in which no entry is
allowed, however often its state or its cause changes. A resume that is not denied ends a halt, or
changes its state from flattening to reduce_only; it does not begin one.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import ClassVar

import attrs

from kamou.core.codes import StateReason
from kamou.core.model import HALT_STATES, NOTE, TradingState
from kamou.store.table_rows import select

STEPS_MAX = 6  # shown of one period: the first, and the newest

_LOSSES = frozenset(
    {
        StateReason.DAY_LOSS_HALF,
        StateReason.DAY_LOSS_LIMIT,
        StateReason.DAY_LOSS_SEVERE,
    }
)
_IS_HALTED = "('reduce_only', 'flattening')"


class PeriodKind(StrEnum):
    """The kind of a period in which the trading state limits entries."""

    HALT = "halt"
    REDUCED_SIZE = "reduced_size"


STATES_OF = MappingProxyType(
    {
        PeriodKind.HALT: HALT_STATES,
        PeriodKind.REDUCED_SIZE: frozenset({TradingState.REDUCED_SIZE}),
    }
)
BEGAN: Mapping[PeriodKind, str] = MappingProxyType(
    {
        # The partial indexes of the migration have these exact conditions.
        PeriodKind.HALT: f'"after" IN {_IS_HALTED} AND "before" NOT IN {_IS_HALTED}',
        PeriodKind.REDUCED_SIZE: "\"after\" = 'reduced_size' AND \"before\" <> 'reduced_size'",
    }
)


@attrs.frozen(kw_only=True)
class Step:
    """A cause of a period, or a note of the operator during the period."""

    at_ms: int
    state: TradingState  # from then on
    reason: StateReason
    note: str  # of the operator; empty if there is none


@attrs.frozen(kw_only=True)
class LoneCommand:
    """A command that did not change the trading state, with the operator's note."""

    table: ClassVar[str] = "command"
    seq: int
    at_ms: int
    reason: StateReason
    note: str


@attrs.frozen(kw_only=True)
class HaltPeriod:
    """A halt or a period of reduced size.

    ``until_ms`` and ``end`` are None while it lasts. ``state`` is the most severe state of the
    period, ``reason`` the first cause of that state. ``steps`` has the first and the newest of all
    ``steps_total`` steps, at most ``STEPS_MAX``.
    """

    from_ms: int
    until_ms: int | None
    state: TradingState
    reason: StateReason
    steps: tuple[Step, ...]
    steps_total: int
    end: Step | None


def query_periods(
    reader: sqlite3.Connection, kind: PeriodKind, *, limit: int, until_ms: int | None = None
) -> tuple[HaltPeriod, ...]:
    """Return the newest periods of a kind, oldest first.

    Args:
        reader: a connection of ``store.database.open_reader``.
        kind: the kind of the periods.
        limit: maximum number of periods.
        until_ms: events after this time are ignored; None: no event is ignored.
    """
    last_ms = 2**62 if until_ms is None else until_ms
    began = reader.execute(
        f"SELECT seq FROM state INDEXED BY state_{kind}_began WHERE {BEGAN[kind]}"
        " AND at_ms <= ? ORDER BY seq DESC LIMIT ?",
        (last_ms, limit),
    ).fetchall()
    return tuple(_read_period(reader, seq, kind, last_ms) for (seq,) in reversed(began))


def query_commands(
    reader: sqlite3.Connection, *, limit: int, until_ms: int | None = None
) -> tuple[LoneCommand, ...]:
    """Return the newest ``limit`` commands without effect on the state, oldest first.

    They have a note. Commands after ``until_ms`` are left out; None: none is left out.
    """
    tail = "WHERE at_ms <= ? ORDER BY seq DESC LIMIT ?"
    last_ms = 2**62 if until_ms is None else until_ms
    return select(reader, LoneCommand, tail, last_ms, limit)[::-1]


def begins_period(kind: PeriodKind, before: TradingState, after: TradingState) -> bool:
    """Return True if the change begins a period of ``kind``."""
    return after in STATES_OF[kind] and before not in STATES_OF[kind]


def _read_period(
    reader: sqlite3.Connection, seq: int, kind: PeriodKind, last_ms: int
) -> HaltPeriod:
    inside = STATES_OF[kind]
    steps: list[Step] = []
    end: Step | None = None
    end_seq = 2**62
    changes = reader.execute(
        'SELECT seq, at_ms, "after", reason, figures FROM state WHERE seq >= ? AND at_ms <= ?'
        " ORDER BY seq",
        (seq, last_ms),
    )
    for at_seq, at_ms, after, reason, figures in changes:
        step = Step(
            at_ms=at_ms,
            state=TradingState(after),
            reason=StateReason(reason),
            note=_note(figures),
        )
        if after not in inside:
            end, end_seq = step, at_seq
            break
        steps.append(step)
    changes.close()
    steps += _read_notes(reader, seq, end_seq, last_ms, steps)
    steps.sort(key=lambda step: step.at_ms)
    worst = _most_severe(steps)
    return HaltPeriod(
        from_ms=steps[0].at_ms,
        until_ms=None if end is None else end.at_ms,
        state=worst.state,
        reason=_cause(worst, kind),
        steps=tuple(steps if len(steps) <= STEPS_MAX else [steps[0], *steps[1 - STEPS_MAX :]]),
        steps_total=len(steps),
        end=end,
    )


def _read_notes(
    reader: sqlite3.Connection, first: int, end: int, last_ms: int, steps: Iterable[Step]
) -> list[Step]:
    """Return the operator's notes on commands that changed no state in a period.

    ``first`` and ``end`` are the numbers of the events that begin and end the period.
    """
    states = sorted((step.at_ms, step.state) for step in steps)
    notes = reader.execute(
        "SELECT at_ms, reason, note FROM command WHERE seq > ? AND seq < ? AND at_ms <= ?"
        " ORDER BY seq",
        (first, end, last_ms),
    ).fetchall()
    return [
        Step(
            at_ms=at_ms,
            state=next((s for t, s in reversed(states) if t <= at_ms), states[0][1]),
            reason=StateReason(reason),
            note=note,
        )
        for at_ms, reason, note in notes
    ]


def _most_severe(steps: Iterable[Step]) -> Step:
    """Return the first step of the most severe state."""
    return max(steps, key=lambda step: step.state.severity)


def _cause(step: Step, kind: PeriodKind) -> StateReason:
    """Return the cause of a step; for reduced size it is always a loss of the day.

    A resume or a new day may have changed the state to reduced_size, but not caused it.
    """
    if kind is PeriodKind.REDUCED_SIZE and step.reason not in _LOSSES:
        return StateReason.DAY_LOSS_HALF
    return step.reason


def _note(figures: str) -> str:
    """Return the operator's note from the figures of a change of state."""
    found = (figure["value"] for figure in json.loads(figures) if figure["name"] == NOTE)
    return str(next(found, ""))
