"""Text of `kamou status`: order, named figures, and lines that fit the terminal."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from kamou.commands.status_text import find_troubles, frame_lines, full_lines, repeated_lines
from kamou.commands.text_layout import align_columns, count_cells, cut, flow, limit_lines, wrap
from tests.commands.status_cases import (
    NOW_MS,
    RandomStatus,
    make_book,
    make_child,
    make_order_flow,
    make_pending_entry,
    make_position,
    make_status,
    make_system,
    status_seeds,
)

SIZES = [(59, 24), (79, 24), (159, 50)]


def make_positions(count: int) -> list[dict[str, Any]]:
    return [make_position(symbol=f"SYN{number:03}USDT") for number in range(count)]


def assert_fits(lines: list[str], width: int, height: int | None = None) -> None:
    assert height is None or len(lines) <= height
    for line in lines:
        assert cell_len(line) <= width, line
        assert line.isprintable()


# --- lines that fit the width ----------------------------------------------------------------


@settings(max_examples=200)
@given(seed=status_seeds, width=st.integers(20, 200), height=st.integers(3, 60))
def test_a_frame_of_any_status_fits_its_terminal(seed: int, width: int, height: int) -> None:
    assert_fits(frame_lines(RandomStatus(seed).draw(), width, height), width, height)


@settings(max_examples=300)
@given(seed=status_seeds)
def test_a_frame_of_any_status_fits_60_columns_and_24_lines(seed: int) -> None:
    assert_fits(frame_lines(RandomStatus(seed).draw(), 59, 24), 59, 24)


@settings(max_examples=200)
@given(seed=status_seeds, width=st.integers(40, 200))
def test_no_line_of_any_status_is_wider_than_the_terminal(seed: int, width: int) -> None:
    status = RandomStatus(seed).draw()
    assert_fits(full_lines(status, width), width)
    lines = repeated_lines(status, width)
    assert_fits(lines, width)
    assert "" not in lines


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("count", [0, 1, 3, 11, 40])
def test_a_frame_shows_or_counts_every_position(width: int, height: int, count: int) -> None:
    open_positions = make_positions(count)
    lines = frame_lines(make_status(book=make_book(positions=open_positions)), width, height)
    text = "\n".join(lines)
    shown = sum(each["symbol"] in text for each in open_positions)
    left = re.search(r"\+ (\d+) more, unrealized \+([\d,.]+)", text)
    assert shown + (int(left[1]) if left else 0) == count
    assert not left or left[2].replace(",", "") == f"{30 * int(left[1])}.00"
    assert f"positions: {count or 'none'}" in text


def test_a_frame_leaves_out_the_last_positions_of_the_list() -> None:
    open_positions = make_positions(40)
    text = "\n".join(frame_lines(make_status(book=make_book(positions=open_positions)), 59, 24))
    assert open_positions[0]["symbol"] in text
    assert open_positions[-1]["symbol"] not in text


# --- content ---------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [59, 60, 79, 80, 160, 200])
def test_a_position_has_all_figures_in_narrow_and_wide_texts(width: int) -> None:
    text = "\n".join(full_lines(make_status(), width))
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
    lines = full_lines(make_status(), 80)
    order = [lines.index(line) for line in ("account", "system", "mailboxes", "public site")]
    held = next(n for n, line in enumerate(lines) if line.startswith("positions: 1"))
    assert order == sorted(order)
    assert order[0] < held < order[1]


def test_the_account_has_state_money_daily_loss_and_times() -> None:
    text = "\n".join(full_lines(make_status(), 80))
    for line in (
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
        assert line in text


@pytest.mark.parametrize(
    "show", [lambda status: full_lines(status, 59), lambda status: frame_lines(status, 59, 24)]
)
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
def test_a_position_without_a_confirmed_stop_is_among_the_first_lines(
    show: Any, changes: dict[str, Any], sentence: str, marker: str
) -> None:
    unprotected = make_position(
        stop_confirmed=False, unprotected_since_ms=NOW_MS - 15_000, **changes
    )
    lines = show(make_status(book=make_book(positions=[unprotected])))
    text = " ".join(" ".join(lines).split())
    assert sentence in text
    assert marker in text.replace(sentence, "")
    first = next(n for n, line in enumerate(lines) if line.startswith("! "))
    assert first <= 3, "troubles come first"


def test_an_adopted_position_has_a_dash_for_r() -> None:
    lines = full_lines(
        make_status(book=make_book(positions=[make_position(strategy="adopted", r=None)])), 160
    )
    (row,) = [line for line in lines if "SOLUSDT" in line]
    assert row.split()[-7:-4] == ["+30.00", "-", "2"]


def test_a_mark_beyond_the_stop_is_visible_in_narrow_and_wide_texts() -> None:
    beyond = make_status(book=make_book(positions=[make_position(stop_distance="-0.0104")]))
    assert "(mark beyond it by 1.04%)" in "\n".join(full_lines(beyond, 79))
    assert "-1.04%" in "\n".join(full_lines(beyond, 160))


def test_positions_without_a_mark_are_counted_and_left_out_of_the_unrealized_sum() -> None:
    unmarked = make_position(mark_price=None, mark_at_ms=None, unrealized_pnl=None, r=None)
    text = "\n".join(
        full_lines(make_status(book=make_book(positions=[make_position(), unmarked])), 160)
    )
    assert "unrealized +30.00 USDT, 1 without a mark" in text
    alone = "\n".join(full_lines(make_status(book=make_book(positions=[unmarked])), 160))
    assert "marks not known" in alone


def test_the_time_of_marks_of_another_day_has_its_date() -> None:
    old = make_position(mark_at_ms=NOW_MS - 86_400_000)
    text = "\n".join(full_lines(make_status(book=make_book(positions=[old])), 160))
    assert "marks as of 2023-11-14 12:06:40 UTC" in text


def test_pending_entries_are_listed_and_counted() -> None:
    resting = [
        make_pending_entry(),
        make_pending_entry(filled="2", limit_price=None, type="market"),
    ]
    text = "\n".join(full_lines(make_status(book=make_book(pending_entries=resting)), 160))
    assert "pending entries: 2" in text
    assert "ETHUSDT buy 5 contracts  limit 2,000.5  accepted, 12 s  OI momentum" in text
    assert "ETHUSDT buy 5 contracts  market  filled 2  accepted, 12 s  OI momentum" in text
    many = frame_lines(
        make_status(book=make_book(pending_entries=[make_pending_entry()] * 9)), 59, 24
    )
    assert any(re.fullmatch(r"\+ \d more pending entries", line) for line in many)


def test_a_halt_has_its_cause_its_duration_and_the_operators_reason() -> None:
    halted = make_book(
        state="reduce_only",
        state_reason="OPERATOR_HALT",
        state_note="news at noon",
        state_since_ms=NOW_MS - 7_200_000,
    )
    words = "reduce_only, no new trades: halted by the operator"
    status = make_status(book=halted)
    assert f'trading state {words}, for 2 h, "news at noon"' in find_troubles(status)
    assert f"state             {words}" in "\n".join(full_lines(status, 160))
    assert "halted by the operator" in " ".join(" ".join(frame_lines(status, 59, 24)).split())


def test_troubles_come_first_with_the_most_urgent_at_the_top() -> None:
    trouble = make_system(not_ready=["the disk is full"], degraded=["the site is down"])
    unprotected = make_position(stop_confirmed=False, stop_price=None, unprotected_since_ms=NOW_MS)
    status = make_status(
        system=trouble, book=make_book(positions=[unprotected]), notice="the run has ended"
    )
    found = find_troubles(status)
    assert found[:2] == ["the run has ended", "the disk is full"]
    assert "NOT PROTECTED" in found[2]
    assert found[3] == "the site is down"
    lines = full_lines(status, 160)
    assert lines[2:4] == ["! the run has ended", "! the disk is full"]


def test_a_restarted_child_is_shown_with_its_last_error() -> None:
    crashed = make_child("veto", restarts=3, incarnation=4, last_error="ValueError: boom")
    status = make_status(system=make_system(make_child("journal"), crashed))
    text = "\n".join(full_lines(status, 60))
    assert "veto: 3 restarts, last error ValueError: boom" in text
    assert re.search(r"veto +running +4 +3", text)
    summary = "\n".join(frame_lines(status, 59, 24))
    assert "system: 2 of 2 children running, 3 restarts" in summary
    assert "veto: 3 restarts, last error ValueError: boom" in summary
    once = make_status(
        system=make_system(make_child("veto", restarts=1, last_error="KeyError: 'x'"))
    )
    assert "veto: 1 restart, last error KeyError: 'x'" in "\n".join(full_lines(once, 60))


def test_gathered_order_flow_has_its_newest_window_and_streams_if_there_is_any() -> None:
    status = make_status(system=make_system(make_child("feed"), order_flow=make_order_flow()))
    text = "\n".join(full_lines(status, 80))
    assert re.search(r"window +until 2023-11-15 12:05:00 UTC, 58 of 60 symbols known", text)
    assert re.search(r"streams +1 of 2 open", text)
    assert re.search(r"breaks +3 since the start", text)
    frame = "\n".join(frame_lines(status, 100, 24))
    assert "order flow window until 2023-11-15 12:05:00 UTC, 58 of 60 symbols known" in frame
    assert "order flow streams 1 of 2 open" in frame
    begun = make_system(make_child("feed"), order_flow=make_order_flow(window_ms=None, known=0))
    assert re.search(r"window +none yet", "\n".join(full_lines(make_status(system=begun), 80)))
    for none in (make_system(), make_system(order_flow=None)):
        assert "order flow" not in "\n".join(full_lines(make_status(system=none), 80))


def test_a_child_that_waits_for_its_next_start_is_a_trouble() -> None:
    waiting = make_child("veto", state="backing-off", restarts=3, last_error="ValueError: boom")
    status = make_status(system=make_system(make_child("journal"), waiting))
    assert find_troubles(status) == [
        "veto waits for its next start; its last error: ValueError: boom"
    ]
    assert "1 of 2 children running" in "\n".join(frame_lines(status, 59, 24))


def test_a_crowded_frame_keeps_a_line_of_every_part() -> None:
    """The parts are troubles, account, positions, pending entries and the system."""
    crashed = [make_child(f"scanner-{n}", restarts=n, last_error="boom") for n in range(9)]
    unprotected = make_position(stop_confirmed=False, stop_price=None, symbol="XYZUSDT")
    status = make_status(
        system=make_system(*crashed, not_ready=["the disk is full"] * 9),
        book=make_book(
            positions=[unprotected, *make_positions(30)], pending_entries=[make_pending_entry()] * 9
        ),
    )
    lines = frame_lines(status, 59, 24)
    for beginning in (
        "kamou demo",
        "! the disk is full",
        "state active",
        "positions: 31",
        "  XYZUSDT",
        "pending entries: 9",
        "system: 9 of 9",
    ):
        assert any(line.startswith(beginning) for line in lines), beginning
    assert any(re.match(r"\+ \d+ more, unrealized", line) for line in lines)


def test_without_a_run_the_title_has_the_time_of_the_record() -> None:
    status = make_status(running=False, run=None, system=None, at_ms=NOW_MS + 3_600_000)
    first = full_lines(status, 160)[0]
    assert first == (
        "kamou demo  NOT RUNNING  on record up to 2023-11-15 12:06:40 UTC  2023-11-15 13:06:40 UTC"
    )
    assert "2 h 14 min" in "\n".join(full_lines(status, 160)), (
        "durations end at the time of the record"
    )


def test_the_title_names_a_fast_forward() -> None:
    status = make_status(system=make_system(make_child("site"), phase="fast-forward"))
    assert "simulating the days before now" in full_lines(status, 80)[0]


# --- layout ----------------------------------------------------------------------------------


@given(text=st.text(max_size=200), width=st.integers(1, 80))
def test_cut_and_wrapped_texts_fit_the_width(text: str, width: int) -> None:
    printable = "".join(c for c in text if c.isprintable())
    assert count_cells(cut(printable, width)) <= width
    assert all(count_cells(line) <= width for line in wrap(printable, width))


@given(
    st.lists(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1), max_size=30)
)
def test_wrapping_keeps_every_word(words: list[str]) -> None:
    lines = wrap(" ".join(words), 40)
    assert "".join("".join(lines).split()) == "".join(words)


def test_a_wide_character_counts_as_two_cells() -> None:
    assert cut("漢字漢字", 6) == "漢字.."
    assert align_columns([("漢字", "1"), ("abcde", "22")], right=(1,)) == ["漢字    1", "abcde  22"]


def test_flow_breaks_lines_between_pieces_and_not_inside_one() -> None:
    assert flow(["aaa aaa", "bbb", "ccc"], 14) == ["  aaa aaa  bbb", "  ccc"]


def test_limited_lines_count_the_lines_left_out() -> None:
    assert limit_lines(["a", "b", "c", "d"], 2) == ["a", "+ 3 more lines"]
    assert limit_lines(["a"], 1) == ["a"]
    assert limit_lines(["a"], 0) == []


@pytest.mark.parametrize(
    ("held", "words"), [(True, "closing everything"), (False, "no new trades")]
)
def test_the_state_flattening_says_closing_everything_only_with_open_positions(
    held: bool, words: str
) -> None:
    changes: dict[str, Any] = {} if held else {"positions": []}
    flattened = make_book(state="flattening", state_reason="OPERATOR_FLATTEN", **changes)
    text = "\n".join(full_lines(make_status(book=flattened), 160))
    assert text.count(f"flattening, {words}: flattened by the operator") == 2
