"""What one look leaves unexplained: positions of fills that a list leaves out."""

from __future__ import annotations

import attrs
import pytest
from trading_cases import NOON, D, Story, venue_position
from venue_looks import NEXT_MS, kinds, look, run

from kamou.core.model import OrderSide
from kamou.core.unexplained import positions_left_out
from kamou.core.venue_view import ReconcileSettings

SETTINGS = ReconcileSettings()


@pytest.fixture
def story() -> Story:
    made = Story()
    made.ready()
    return made


# --- fills without a position ----------------------------------------------------------


def test_a_fill_of_no_trade_leaves_a_position_that_the_venue_must_list(story: Story) -> None:
    story.fill(None, "3", "100", symbol="ETHUSDT", side=OrderSide.SELL, at_ms=NOON + 1_000)
    now_ms = NOON + 2_000
    assert positions_left_out(story.book, (), SETTINGS, now_ms) == {"ETHUSDT": D(-3)}
    assert positions_left_out(story.book, ("ETHUSDT",), SETTINGS, now_ms) == {}
    after_ms = NOON + 1_000 + SETTINGS.unassigned_ms
    assert positions_left_out(story.book, (), SETTINGS, after_ms) == {}


def test_what_others_opened_and_closed_again_leaves_nothing_to_list(story: Story) -> None:
    for side in (OrderSide.SELL, OrderSide.BUY):
        story.fill(None, "3", "100", symbol="ETHUSDT", side=side, at_ms=NOON + 1_000)
    assert positions_left_out(story.book, (), SETTINGS, NOON + 2_000) == {}


def test_a_look_that_leaves_out_such_a_position_does_not_agree_and_adopts_it_later(
    story: Story,
) -> None:
    theirs = story.fill(None, "3", "100", symbol="ETHUSDT", at_ms=NEXT_MS - 10_000)
    listed = (venue_position("ETHUSDT", "-3"),)
    seen = look(fills=(theirs,))
    blind = run(story, seen)
    assert not blind.agreed
    assert blind.deferred == ("ETHUSDT",)
    assert list(blind.doubts) == [("ETHUSDT", D(-3))]
    found = run(story, attrs.evolve(seen, positions=listed), now_ms=NEXT_MS + 5_000)
    assert "PositionAdopted" in kinds(found.repairs)
    assert story.book.unassigned == {}


def test_a_position_that_no_list_ever_shows_is_given_up_after_a_minute(story: Story) -> None:
    theirs = story.fill(None, "3", "100", symbol="ETHUSDT", at_ms=NEXT_MS - 60_000)
    found = run(story, look(fills=(theirs,)))
    assert found.agreed
