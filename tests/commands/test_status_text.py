"""What a look shows: account and positions first, named figures, and nothing that does not fit."""

from __future__ import annotations

import re
from typing import Any

import pytest
from commands.status_cases import (
    NOW_MS,
    AnyLook,
    book,
    child,
    pending,
    position,
    seeds,
    seen,
    system,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from kamou.commands.status_text import frame, status_lines, troubles, whole
from kamou.commands.text_layout import cells, columns, cut, flow, limited, wrap

SIZES = [(59, 24), (79, 24), (159, 50)]


def positions(count: int) -> list[dict[str, Any]]:
    return [position(symbol=f"SYN{number:03}USDT") for number in range(count)]


def assert_fits(lines: list[str], width: int, height: int | None = None) -> None:
    assert height is None or len(lines) <= height
    for line in lines:
        assert cell_len(line) <= width, line
        assert line.isprintable()


# --- it fits -----------------------------------------------------------------------


@settings(max_examples=200)
@given(seed=seeds, width=st.integers(20, 200), height=st.integers(3, 60))
def test_a_frame_fits_its_terminal_whatever_was_seen(seed: int, width: int, height: int) -> None:
    assert_fits(frame(AnyLook(seed).look(), width, height), width, height)


@settings(max_examples=300)
@given(seed=seeds)
def test_a_frame_fits_sixty_columns_and_twenty_four_lines(seed: int) -> None:
    assert_fits(frame(AnyLook(seed).look(), 59, 24), 59, 24)


@settings(max_examples=200)
@given(seed=seeds, width=st.integers(40, 200))
def test_no_line_of_a_status_is_wider_than_the_terminal(seed: int, width: int) -> None:
    look = AnyLook(seed).look()
    assert_fits(whole(look, width), width)
    lines = status_lines(look, width)
    assert_fits(lines, width)
    assert "" not in lines


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("count", [0, 1, 3, 11, 40])
def test_every_position_is_shown_or_counted(width: int, height: int, count: int) -> None:
    held = positions(count)
    lines = frame(seen(book=book(positions=held)), width, height)
    text = "\n".join(lines)
    shown = sum(each["symbol"] in text for each in held)
    left = re.search(r"\+ (\d+) more, unrealized \+([\d,.]+)", text)
    assert shown + (int(left[1]) if left else 0) == count
    assert not left or left[2].replace(",", "") == f"{30 * int(left[1])}.00"
    assert f"positions: {count or 'none'}" in text


def test_a_frame_leaves_the_safest_positions_out_not_the_others() -> None:
    held = positions(40)
    text = "\n".join(frame(seen(book=book(positions=held)), 59, 24))
    assert held[0]["symbol"] in text
    assert held[-1]["symbol"] not in text


# --- what it says -------------------------------------------------------------------


@pytest.mark.parametrize("width", [59, 60, 79, 80, 160, 200])
def test_a_position_has_every_figure_at_every_width(width: int) -> None:
    text = "\n".join(whole(seen(), width))
    for figure in (
        "SOLUSDT",
        "long",
        "10",
        "100",
        "103",
        "97",
        "5.83%",
        "+30.00",
        "+0.98",
        "2 h 14 min",
        "mean reversion",
        "marks as of 12:06:35 UTC",
    ):
        assert figure in text
    assert "100.000" not in text, "a price is rounded"


def test_account_and_positions_come_before_the_system() -> None:
    lines = whole(seen(), 80)
    order = [lines.index(line) for line in ("account", "system", "mailboxes", "public site")]
    held = next(n for n, line in enumerate(lines) if line.startswith("positions: 1"))
    assert order == sorted(order)
    assert order[0] < held < order[1]


def test_the_account_names_state_money_day_budget_and_times() -> None:
    text = "\n".join(whole(seen(), 80))
    for said in (
        "state             active",
        "equity            10,030.00 USDT",
        "wallet balance    10,000.00 USDT",
        "unrealized        +30.00 USDT",
        "today             +0.30%",
        "loss today        1.07% of 4.00%, exit costs of 0.07% included",
        "loss budget left  2.93%",
        "last cycle        2023-11-15 12:05:10 UTC",
        "account as of     2023-11-15 12:05:40 UTC",
        "kamou demo  trading  process 4242, up 1 h  2023-11-15 12:06:40 UTC",
    ):
        assert said in text


@pytest.mark.parametrize("show", [lambda look: whole(look, 59), lambda look: frame(look, 59, 24)])
@pytest.mark.parametrize(
    ("changes", "sentence", "marker"),
    [
        (
            {"stop_price": None, "stop_quantity": None, "stop_status": None, "stop_distance": None},
            "! SOLUSDT long is NOT PROTECTED for 15 s: there is no stop",
            "NO STOP",
        ),
        (
            {"stop_quantity": None, "stop_status": "sent"},
            "! SOLUSDT long is NOT PROTECTED for 15 s: its stop at 97 was not read back from the "
            "venue (its order is sent)",
            "NOT CONFIRMED",
        ),
        (
            {"stop_quantity": "30"},
            "! SOLUSDT long is NOT PROTECTED for 15 s: its stop at 97 covers 30 of 100 contracts",
            "NOT CONFIRMED",
        ),
    ],
)
def test_a_position_without_a_confirmed_stop_is_said_loudly(
    show: Any, changes: dict[str, Any], sentence: str, marker: str
) -> None:
    bare = position(stop_confirmed=False, unprotected_since_ms=NOW_MS - 15_000, **changes)
    lines = show(seen(book=book(positions=[bare])))
    text = " ".join(" ".join(lines).split())
    assert sentence in text
    assert marker in text.replace(sentence, "")
    first = next(n for n, line in enumerate(lines) if line.startswith("! "))
    assert first <= 3, "trouble comes first"


def test_an_adopted_position_has_a_dash_for_r() -> None:
    lines = whole(seen(book=book(positions=[position(strategy="adopted", r=None)])), 160)
    (row,) = [line for line in lines if "SOLUSDT" in line]
    assert row.split()[-7:-4] == ["+30.00", "-", "2"]


def test_a_mark_beyond_the_stop_is_said_at_narrow_and_wide() -> None:
    beyond = seen(book=book(positions=[position(stop_distance="-0.0104")]))
    assert "(mark beyond it by 1.04%)" in "\n".join(whole(beyond, 79))
    assert "-1.04%" in "\n".join(whole(beyond, 160))


def test_positions_without_a_mark_are_counted_and_have_no_money() -> None:
    blind = position(mark_price=None, mark_at_ms=None, unrealized_pnl=None, r=None)
    text = "\n".join(whole(seen(book=book(positions=[position(), blind])), 160))
    assert "unrealized +30.00 USDT, 1 without a mark" in text
    alone = "\n".join(whole(seen(book=book(positions=[blind])), 160))
    assert "marks not known" in alone


def test_marks_of_another_day_have_their_day() -> None:
    old = position(mark_at_ms=NOW_MS - 86_400_000)
    text = "\n".join(whole(seen(book=book(positions=[old])), 160))
    assert "marks as of 2023-11-14 12:06:40 UTC" in text


def test_pending_entries_are_listed_and_counted() -> None:
    resting = [pending(), pending(filled="2", limit_price=None, type="market")]
    text = "\n".join(whole(seen(book=book(pending_entries=resting)), 160))
    assert "pending entries: 2" in text
    assert "ETHUSDT buy 5  limit 2,000.5  accepted, 12 s  OI momentum" in text
    assert "ETHUSDT buy 5  market  filled 2  accepted, 12 s  OI momentum" in text
    many = frame(seen(book=book(pending_entries=[pending()] * 9)), 59, 24)
    assert any(re.fullmatch(r"\+ \d more pending entries", line) for line in many)


def test_a_halt_is_named_with_its_cause_its_age_and_the_operators_words() -> None:
    halted = book(
        state="reduce_only",
        state_reason="OPERATOR_HALT",
        state_note="news at noon",
        state_since_ms=NOW_MS - 7_200_000,
    )
    said = "reduce_only, no new trades: halted by the operator"
    look = seen(book=halted)
    assert f'trading state {said}, for 2 h, "news at noon"' in troubles(look)
    assert f"state             {said}" in "\n".join(whole(look, 160))
    assert "halted by the operator" in " ".join(" ".join(frame(look, 59, 24)).split())


def test_trouble_comes_first_in_the_order_of_its_urgency() -> None:
    trouble = system(not_ready=["the disk is full"], degraded=["the site is down"])
    bare = position(stop_confirmed=False, stop_price=None, unprotected_since_ms=NOW_MS)
    look = seen(system=trouble, book=book(positions=[bare]), notice="the run has ended")
    found = troubles(look)
    assert found[:2] == ["the run has ended", "the disk is full"]
    assert "NOT PROTECTED" in found[2]
    assert found[3] == "the site is down"
    lines = whole(look, 160)
    assert lines[2:4] == ["! the run has ended", "! the disk is full"]


def test_restarts_are_shown_with_their_last_error() -> None:
    crashed = child("veto", restarts=3, incarnation=4, last_error="ValueError: boom")
    look = seen(system=system(child("journal"), crashed))
    text = "\n".join(whole(look, 60))
    assert "veto: 3 restarts, last error ValueError: boom" in text
    assert re.search(r"veto +running +4 +3", text)
    summary = "\n".join(frame(look, 59, 24))
    assert "system: 2 of 2 children running, 3 restarts" in summary
    assert "veto: 3 restarts, last error ValueError: boom" in summary
    once = seen(system=system(child("veto", restarts=1, last_error="KeyError: 'x'")))
    assert "veto: 1 restart, last error KeyError: 'x'" in "\n".join(whole(once, 60))


def test_a_child_that_waits_for_its_next_start_is_trouble() -> None:
    waiting = child("veto", state="backing-off", restarts=3, last_error="ValueError: boom")
    look = seen(system=system(child("journal"), waiting))
    assert troubles(look) == ["veto waits for its next start, ValueError: boom"]
    assert "1 of 2 children running" in "\n".join(frame(look, 59, 24))


def test_a_crowded_frame_keeps_a_line_of_everything() -> None:
    """Trouble, account, positions with the rest counted, entries and the system."""
    crashed = [child(f"scanner-{n}", restarts=n, last_error="boom") for n in range(9)]
    bare = position(stop_confirmed=False, stop_price=None, symbol="BAREUSDT")
    look = seen(
        system=system(*crashed, not_ready=["the disk is full"] * 9),
        book=book(positions=[bare, *positions(30)], pending_entries=[pending()] * 9),
    )
    lines = frame(look, 59, 24)
    for beginning in (
        "kamou demo",
        "! the disk is full",
        "state active",
        "positions: 31",
        "  BAREUSDT",
        "pending entries: 9",
        "system: 9 of 9",
    ):
        assert any(line.startswith(beginning) for line in lines), beginning
    assert any(re.match(r"\+ \d+ more, unrealized", line) for line in lines)


def test_what_is_on_record_is_said_with_its_time_when_nothing_runs() -> None:
    look = seen(running=False, run=None, system=None, at_ms=NOW_MS + 3_600_000)
    first = whole(look, 160)[0]
    assert first == (
        "kamou demo  NOT RUNNING  on record up to 2023-11-15 12:06:40 UTC  2023-11-15 13:06:40 UTC"
    )
    assert "2 h 14 min" in "\n".join(whole(look, 160)), "ages are as of the record"


def test_during_a_fast_forward_the_title_says_so() -> None:
    look = seen(system=system(child("site"), phase="fast-forward"))
    assert "simulating the days before now" in whole(look, 80)[0]


# --- the layout itself --------------------------------------------------------------


@given(text=st.text(max_size=200), width=st.integers(1, 80))
def test_what_is_cut_or_wrapped_fits(text: str, width: int) -> None:
    printable = "".join(c for c in text if c.isprintable())
    assert cells(cut(printable, width)) <= width
    assert all(cells(line) <= width for line in wrap(printable, width))


@given(
    st.lists(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1), max_size=30)
)
def test_wrapping_loses_no_word(words: list[str]) -> None:
    lines = wrap(" ".join(words), 40)
    assert "".join("".join(lines).split()) == "".join(words)


def test_a_wide_character_counts_as_two() -> None:
    assert cut("漢字漢字", 6) == "漢字.."
    assert columns([("漢字", "1"), ("abcde", "22")], right=(1,)) == ["漢字    1", "abcde  22"]


def test_pieces_flow_without_being_broken() -> None:
    assert flow(["aaa aaa", "bbb", "ccc"], 14) == ["  aaa aaa  bbb", "  ccc"]


def test_limited_lines_say_how_many_are_left_out() -> None:
    assert limited(["a", "b", "c", "d"], 2) == ["a", "+ 3 more lines"]
    assert limited(["a"], 1) == ["a"]
    assert limited(["a"], 0) == []


@pytest.mark.parametrize(
    ("held", "words"), [(True, "closing everything"), (False, "no new trades")]
)
def test_a_flatten_closes_everything_as_long_as_something_is_open(held: bool, words: str) -> None:
    changes: dict[str, Any] = {} if held else {"positions": []}
    flattened = book(state="flattening", state_reason="OPERATOR_FLATTEN", **changes)
    text = "\n".join(whole(seen(book=flattened), 160))
    assert text.count(f"flattening, {words}: flattened by the operator") == 2
