"""Withdrawals and losses are excused until the system could have read them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from kamou.simulator.chaos import covered_ms
from kamou.simulator.invariants.outside_changes import (
    DECIDED_MS,
    KNOWN_AFTER_MS,
    PERMIT_MS,
    OutsideChanges,
)

AGE_MAX_MS = 900_000
GONE_MS = 1_000_000


def changes(*silent: tuple[int, int]) -> OutsideChanges:
    """Return the changes of an account that 300 USDT left at ``GONE_MS``."""
    made = OutsideChanges(lambda _, a, b: covered_ms(silent, a, b), age_max_ms=AGE_MAX_MS)
    made.record_withdrawal(GONE_MS, Decimal(300))
    return made


def test_a_withdrawal_is_unknown_until_two_cycles_could_read_the_account() -> None:
    made = changes()
    assert made.sum_unknown(GONE_MS + KNOWN_AFTER_MS) == 300
    assert made.sum_unknown(GONE_MS + KNOWN_AFTER_MS + 1) == 0


def test_time_in_which_the_account_cannot_be_read_does_not_make_a_withdrawal_known() -> None:
    """In seed 700202 an entry used a read from before a withdrawal, and reads failed for 210 s."""
    blind_ms = 210_000
    made = changes((GONE_MS, GONE_MS + blind_ms))
    assert made.sum_unknown(GONE_MS + blind_ms + KNOWN_AFTER_MS) == 300
    assert made.sum_unknown(GONE_MS + blind_ms + KNOWN_AFTER_MS + 1) == 0


@pytest.mark.parametrize("blind_ms", [AGE_MAX_MS, 10 * AGE_MAX_MS])
def test_failing_reads_excuse_no_entry_on_an_account_read_that_is_too_old(blind_ms: int) -> None:
    made = changes((GONE_MS, GONE_MS + blind_ms))
    assert made.sum_unknown(GONE_MS + AGE_MAX_MS + KNOWN_AFTER_MS + 1) == 0


def losing(*silent: tuple[int, int]) -> OutsideChanges:
    """Return the changes of an account in which a fill lost 200 USDT at ``GONE_MS``."""
    made = OutsideChanges(lambda _, a, b: covered_ms(silent, a, b), age_max_ms=AGE_MAX_MS)
    made.record_loss("ETHUSDT", GONE_MS, Decimal(3), Decimal(200))
    return made


def test_a_loss_without_a_reported_fill_is_unknown_until_the_account_could_be_read() -> None:
    """In seed 960240 an entry came 307 ms after a liquidation in another symbol."""
    made = losing()
    assert made.sum_unknown(GONE_MS + 307) == 200
    assert made.sum_unknown(GONE_MS + KNOWN_AFTER_MS) == 200
    assert made.sum_unknown(GONE_MS + KNOWN_AFTER_MS + 1) == 0


def test_a_loss_whose_fill_is_reported_is_known_once_older_permits_have_expired() -> None:
    made = losing()
    made.record_report("ETHUSDT", GONE_MS, Decimal("3.0"), GONE_MS + 1_000)
    made.record_report("ETHUSDT", GONE_MS, Decimal(3), GONE_MS + 90_000)  # again, by another source
    assert made.sum_unknown(GONE_MS + 1_000 + PERMIT_MS) == 200
    assert made.sum_unknown(GONE_MS + 1_000 + PERMIT_MS + 1) == 0


def test_the_report_of_another_fill_does_not_make_a_loss_known() -> None:
    made = losing()
    for symbol, at_ms, quantity in (("BTCUSDT", 0, 3), ("ETHUSDT", 1, 3), ("ETHUSDT", 0, 2)):
        made.record_report(symbol, GONE_MS + at_ms, Decimal(quantity), GONE_MS)
    assert made.sum_unknown(GONE_MS + PERMIT_MS + 1) == 200


def test_a_reduction_is_unreported_until_its_report_or_until_it_could_be_read() -> None:
    """In seed 990246 the report that a hedge had closed was lost for a minute."""
    made = changes()
    made.record_reduction("ETHUSDT", GONE_MS, Decimal(3))
    assert not made.has_unreported(GONE_MS - 1)
    assert made.has_unreported(GONE_MS)
    assert made.has_unreported(GONE_MS + KNOWN_AFTER_MS)
    assert not made.has_unreported(GONE_MS + KNOWN_AFTER_MS + 1)
    made.record_report("ETHUSDT", GONE_MS, Decimal(3), GONE_MS + 500)
    assert made.has_unreported(GONE_MS + 500 + DECIDED_MS)
    assert not made.has_unreported(GONE_MS + 501 + DECIDED_MS)
