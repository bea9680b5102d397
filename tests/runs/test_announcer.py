"""What the terminal hears of a flatten and of a refused resume."""

from __future__ import annotations

import attrs
from store import story

from kamou.core.book import events as e
from kamou.core.book.operator_events import CommandRecorded
from kamou.core.book.position_book import PositionBook
from kamou.core.model import TradingState
from kamou.runs.announcer import Announcer
from kamou.runtime.leveled_lines import Level, level_of
from kamou.store.journal import Committed

AT_MS = story.DAY0_MS + 40_000_000
FLATTEN = e.StateChanged(
    at_ms=AT_MS,
    before=TradingState.ACTIVE,
    after=TradingState.FLATTENING,
    reason="OPERATOR_FLATTEN",
)


@attrs.define
class Heard:
    """An announcer over a book that follows what it hears."""

    book: PositionBook = attrs.Factory(PositionBook)
    said: list[str] = attrs.Factory(list)
    seq: int = 0
    announcer: Announcer = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.announcer = Announcer(self.said.append, lambda: self.book)

    def hear(self, *events: e.Event) -> list[str]:
        """Commit events one by one; returns what was said of them."""
        before = len(self.said)
        for event in events:
            self.seq += 1
            self.book.apply(self.seq, event)
            self.announcer.announce_commit([Committed(seq=self.seq, run_number=1, event=event)])
        return self.said[before:]


def test_a_flatten_says_what_it_closed_and_what_that_cost() -> None:
    received = Heard()
    received.hear(*story.opening_events(), FLATTEN)
    closing = story.closing_events()
    (closed,) = [event for event in closing if isinstance(event, e.TradeClosed)]
    lines = received.hear(*closing)
    assert [line for line in lines if "flatten: " in line] == [
        f"flatten: 1 position closed, net PnL {closed.pnl_net:+,.2f}, fees {closed.fees:,.2f} and"
        f" slippage {closed.slippage:,.2f} in it; no position is left"
    ]


def test_a_flatten_says_what_is_left() -> None:
    received = Heard()
    received.hear(*story.opening_events(), FLATTEN)
    received.announcer.announce_remaining()
    assert received.said[-1] == (
        "flatten: no position is closed yet; 1 position left, and closing goes on"
    )
    assert level_of(received.said[-1]) is Level.WARNING


def test_a_flatten_of_nothing_says_so_once() -> None:
    received = Heard()
    lines = received.hear(FLATTEN)
    assert lines[1:] == ["flatten: no position was open"]
    received.announcer.announce_remaining()
    assert len(received.said) == 2


def test_a_close_without_a_flatten_is_not_counted() -> None:
    received = Heard()
    lines = received.hear(*story.opening_events(), *story.closing_events())
    assert not [line for line in lines if line.startswith("flatten: ")]


def test_why_a_resume_was_refused_is_kept_and_said_without_words_too() -> None:
    received = Heard()
    refused = CommandRecorded(
        at_ms=AT_MS, reason="OPERATOR_RESUME", note="", refusal="equity is unknown"
    )
    assert received.hear(refused) == [
        "the operator's resume was refused, because equity is unknown; the trading state stays as"
        " it was"
    ]
    assert received.announcer.refusal == "equity is unknown"
