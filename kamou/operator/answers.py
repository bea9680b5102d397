"""Responses of a run to the operator's commands and to a request for its status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

from kamou.core.model import TradingState
from kamou.core.record.backtest_document import FailureReport
from kamou.operator.phases import RunPhase
from kamou.site.health import SiteStatus

PlainRow = Mapping[str, str | int | bool | None]
"""A position or a pending entry as plain data."""


class CommandAnswer(TypedDict, total=False):
    """The response to halt, resume or flatten; a key that does not apply is missing."""

    state: str  # the trading state after the command
    reason: str  # code of the state's cause; empty without one
    disabled_strategies: list[str]
    journalled: bool  # False: the governor carries the command out when the disk has space
    entries: str  # held: no entry is allowed
    latch: str  # set, removed, or set with the error that kept the latch
    next: str  # the operator's next step
    refused: str  # reason why the resume was denied
    positions_left: int | None  # None: the book cannot be read


class RunStatus(TypedDict, total=False):
    """The account and the run as plain data; money is decimal text.

    If the journal cannot be read, the keys of the account are missing, and ``state`` is None.
    """

    phase: RunPhase
    state: TradingState | None
    state_reason: str
    disabled_strategies: Sequence[str]
    state_since_ms: int | None  # None: since the start of the journal
    equity: str
    open_risk: str
    at_ms: int  # now
    positions: Sequence[PlainRow]
    pending_entries: Sequence[PlainRow]
    site: SiteStatus | None  # None: the site is not started yet, or has ended
    listeners: Mapping[str, Mapping[str, int]]  # counters, by the id of the listener
    strategy_failures: Sequence[FailureReport]
    order_flow: Mapping[str, int | None] | None  # None: no order flow is gathered
    disk_full: bool
    held: bool  # a halt that is not journalled, or the halt latch, blocks entries
    gauges: Mapping[str, float]  # for ``/metrics``, by name without ``kamou_``
