"""Tests of the announced lines about a flatten and about a denied resume."""

from __future__ import annotations

import attrs

from kamou.core.book import events as e
from kamou.core.book.operator_events import CommandRecorded
from kamou.core.book.position_book import PositionBook
from kamou.core.codes import StateReason
from kamou.core.model import TradingState
from kamou.runs.announcer import Announcer
from kamou.runtime.leveled_lines import Level, find_level
from kamou.store.journal import Committed
from tests.store import story

AT_MS = story.DAY0_MS + 40_000_000
FLATTEN = e.StateChanged(
    at_ms=AT_MS,
    before=TradingState.ACTIVE,
    after=TradingState.FLATTENING,
    reason=StateReason.OPERATOR_FLATTEN,
)


@attrs.define
class Recorder:
    """An announcer with a book that applies the same events."""

    book: PositionBook = attrs.Factory(PositionBook)
    lines: list[str] = attrs.Factory(list)
    seq: int = 0
    announcer: Announcer = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.announcer = Announcer(self.lines.append, lambda: self.book, "USDT")

    def commit(self, *events: e.Event) -> list[str]:
        """Commit events one by one, and return the lines that were announced."""
        before = len(self.lines)
        for event in events:
            self.seq += 1
            self.book.apply(self.seq, event)
            self.announcer.announce_commit([Committed(seq=self.seq, run_number=1, event=event)])
        return self.lines[before:]


def test_a_flatten_announces_the_closed_positions_with_pnl_fees_and_slippage() -> None:
    recorder = Recorder()
    recorder.commit(*story.opening_events(), FLATTEN)
    closing = story.closing_events()
    (closed,) = [event for event in closing if isinstance(event, e.TradeClosed)]
    lines = recorder.commit(*closing)
    assert [line for line in lines if "flatten: " in line] == [
        f"flatten: 1 position closed, net PnL {closed.pnl_net:+,.2f} USDT after fees of"
        f" {closed.fees:,.2f} USDT and slippage of {closed.slippage:,.2f} USDT; no position is left"
    ]


def test_a_flatten_announces_the_positions_that_are_left() -> None:
    recorder = Recorder()
    recorder.commit(*story.opening_events(), FLATTEN)
    recorder.announcer.announce_remaining()
    assert recorder.lines[-1] == (
        "flatten: no position is closed yet; 1 position left, and closing goes on"
    )
    assert find_level(recorder.lines[-1]) is Level.WARNING


def test_a_flatten_without_positions_announces_its_end_once() -> None:
    recorder = Recorder()
    lines = recorder.commit(FLATTEN)
    assert lines[1:] == ["flatten: no position was open"]
    recorder.announcer.announce_remaining()
    assert len(recorder.lines) == 2


def test_a_trade_closed_without_a_flatten_is_not_announced_as_flattened() -> None:
    recorder = Recorder()
    lines = recorder.commit(*story.opening_events(), *story.closing_events())
    assert not [line for line in lines if line.startswith("flatten: ")]


def test_the_cause_of_a_denied_resume_without_a_note_is_kept_and_announced() -> None:
    recorder = Recorder()
    refused = CommandRecorded(
        at_ms=AT_MS, reason=StateReason.OPERATOR_RESUME, note="", refusal="equity is unknown"
    )
    assert recorder.commit(refused) == [
        "the operator's resume was denied, because equity is unknown; the trading state stays as"
        " it was"
    ]
    assert recorder.announcer.refusal == "equity is unknown"
