"""Fold of the position book: all events, snapshots, forks and replays."""

from __future__ import annotations

import json
from collections.abc import Iterator

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.book import events as e
from kamou.core.book import snapshot
from kamou.core.book.candidate_events import CandidatesRefined, CandidatesVetoed, EntriesDenied
from kamou.core.book.decision_events import EntriesDecided
from kamou.core.book.event_kinds import EVENTS
from kamou.core.book.fold import HANDLERS
from kamou.core.book.instrument_events import InstrumentChanged
from kamou.core.book.operator_events import CommandRecorded
from kamou.core.book.position_book import PositionBook
from kamou.core.book.refiner_events import RefinerCallsEnded, RefinerCallsReserved
from kamou.core.book.run_events import (
    HistoryCaughtUp,
    HistoryCutShort,
    HistoryStopped,
    ReplayEnded,
    ReplayStarted,
)
from kamou.core.book.site_events import SiteFailed, SiteRecovered
from kamou.core.kinds import RunEnd
from kamou.core.model import OrderRole, OrderStatus
from tests.core.trading_cases import (
    NOON,
    D,
    Story,
    income,
    intent,
    mark,
    order_closed,
    plan,
)

PLAN = plan()


# --- the fold ----------------------------------------------------------------------


def test_every_kind_of_event_is_applied_or_known_to_change_nothing() -> None:
    ignored = {
        e.RunStopped,
        e.CycleRanked,
        CandidatesVetoed,
        CandidatesRefined,
        RefinerCallsReserved,
        RefinerCallsEnded,
        EntriesDecided,
        EntriesDenied,
        e.PermitDenied,
        e.ReductionProved,
        SiteFailed,
        SiteRecovered,
        CommandRecorded,
        HistoryCaughtUp,
        HistoryCutShort,
        HistoryStopped,
        ReplayStarted,
        ReplayEnded,
    }
    assert set(HANDLERS) | ignored == set(EVENTS)
    assert not set(HANDLERS) & ignored


def test_an_event_applied_before_is_ignored(story: Story) -> None:
    seq = story.book.seq
    story.book.apply(seq, mark("1"))
    assert story.book.account.equity == 10000
    story.book.apply(seq + 5, e.RunStopped(at_ms=NOON, run_number=1, reason=RunEnd.STOPPED))
    assert story.book.seq == seq + 5


def test_a_change_of_a_fork_leaves_the_book_unchanged(story: Story) -> None:
    story.open(PLAN)
    fork = story.book.fork()
    assert fork == story.book
    fork.apply(fork.seq + 1, mark("1"))
    fork.trades.open.clear()
    fork.recent_activity.entries.clear()
    assert story.book.account.equity == 10000
    assert story.book.trades.open
    assert story.book.recent_activity.entries


def test_a_book_has_a_contract_specification_from_its_own_event_on_and_shares_it_with_no_book() -> (
    None
):
    one, other, third = Story().book, PositionBook(), PositionBook()
    old = one.instruments["SOLUSDT"]
    new = attrs.evolve(old, contract_size=old.contract_size * 10)
    fork = one.fork()
    one.apply(one.seq + 1, InstrumentChanged(at_ms=NOON, instrument=new, figures=()))
    assert one.instruments["SOLUSDT"] == new
    assert fork.instruments["SOLUSDT"] == old
    assert other.instruments == third.instruments == {}
    other.apply(1, InstrumentChanged(at_ms=NOON, instrument=old, figures=()))
    assert (other.instruments, third.instruments) == ({"SOLUSDT": old}, {})


def containers(value: object) -> Iterator[object]:
    """Yield an attrs value, and all attrs values, dicts and lists in its fields."""
    if isinstance(value, (dict, list)):
        yield value
    elif attrs.has(kind := type(value)):
        yield value
        for field in attrs.fields(kind):
            yield from containers(getattr(value, field.name))


def test_a_fork_has_its_own_copy_of_each_value_dict_and_list_of_its_book(story: Story) -> None:
    story.open(PLAN)
    fork = story.book.fork()
    held = {id(each) for each in containers(story.book)}
    assert len(held) > len(attrs.fields(PositionBook))
    assert not held & {id(each) for each in containers(fork)}


def test_loading_an_invalid_book_or_dumping_a_float_raises() -> None:
    for damaged in (b"", b"{}", b"[]"):
        with pytest.raises((ValueError, KeyError, TypeError)):
            PositionBook.load(damaged)
    plain = json.loads(PositionBook().dump())
    plain["seq"] = "seven"
    with pytest.raises(TypeError, match="expected int"):
        PositionBook.load(json.dumps(plain).encode())
    with pytest.raises(TypeError, match="may not contain a float"):
        snapshot.dump_value({"x": 0.1})


def test_a_loaded_snapshot_value_keeps_its_pairs_and_none() -> None:
    @attrs.frozen
    class Pair:
        both: tuple[int, str]
        maybe: int | None

    # Annotations of a local class are resolved here: the module defers them.
    Pair.__annotations__.update(both=tuple[int, str], maybe=int | None)
    for value in (Pair((1, "a"), None), Pair((2, "b"), 3)):
        assert snapshot.load_value(Pair, snapshot.dump_value(value)) == value


ORDERS = [
    intent(role, PLAN)
    for role in (OrderRole.ENTRY, OrderRole.STOP_LOSS, OrderRole.TAKE_PROFIT, OrderRole.EXIT)
]


@st.composite
def histories(draw: st.DrawFn) -> list[e.Event]:
    """Draw events of one symbol, in sequences that a venue can cause and in others."""
    story = Story()
    story.ready()
    story.grant(PLAN)
    for order in ORDERS:
        story.send(order)
    for _ in range(draw(st.integers(0, 14))):
        order = draw(st.sampled_from(ORDERS))
        match draw(st.integers(0, 7)):
            case 0 | 1 | 2:
                quantity = draw(st.sampled_from(["1", "40", "100"]))
                story.fill(order, quantity, draw(st.sampled_from(["97", "100", "106"])))
            case 3:
                story.say(order_closed(order, OrderStatus.CANCELED, draw(st.sampled_from("07"))))
            case 4:
                story.say(e.IncomeRecorded(at_ms=NOON, income=income("funding", "-1")))
            case 5:
                story.say(*story.book.pending_closures(NOON))
            case 6:
                story.say(
                    *(
                        e.PermitReleased(at_ms=NOON, permit_id=p, reason=r)
                        for p, r in story.book.releasable_permits(NOON)
                    )
                )
            case _:
                story.say(
                    e.PositionCorrected(
                        at_ms=NOON,
                        symbol="SOLUSDT",
                        quantity=D(draw(st.sampled_from(["0", "7"]))),
                        price=D(100),
                        reason="inferred",
                    )
                )
    return story.events


@settings(max_examples=60)
@given(histories(), st.data())
def test_a_book_restored_from_a_snapshot_ends_like_one_that_folded_all_events(
    shown: list[e.Event], data: st.DataObject
) -> None:
    whole = PositionBook()
    whole.apply_all(enumerate(shown, 1))
    cut = data.draw(st.integers(0, len(shown)))
    first = PositionBook()
    first.apply_all(enumerate(shown[:cut], 1))
    restored = PositionBook.load(first.dump())
    assert restored == first
    restored.apply_all(enumerate(shown, 1))
    assert restored == whole
    assert restored.dump() == whole.dump()
    assert all(trade.entered >= 0 for trade in whole.trades.open.values())
