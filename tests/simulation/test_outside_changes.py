"""What others do with the account is excused while nobody could know of it, and no longer."""

from __future__ import annotations

from decimal import Decimal

import pytest

from kamou.simulator.faults import covered_ms
from kamou.simulator.outside_changes import KNOWN_AFTER_MS, OutsideChanges

AGE_MAX_MS = 900_000
GONE_MS = 1_000_000


def changes(*silent: tuple[int, int]) -> OutsideChanges:
    """An account that cannot be read in these windows, from which 300 left at ``GONE_MS``."""
    made = OutsideChanges(lambda _, a, b: covered_ms(silent, a, b), age_max_ms=AGE_MAX_MS)
    made.withdrawn(GONE_MS, Decimal(300))
    return made


def test_a_withdrawal_counts_as_there_until_two_cycles_could_have_read_of_it() -> None:
    made = changes()
    assert made.unknown(GONE_MS + KNOWN_AFTER_MS) == 300
    assert made.unknown(GONE_MS + KNOWN_AFTER_MS + 1) == 0


def test_time_in_which_the_account_cannot_be_read_does_not_make_a_withdrawal_known() -> None:
    """Seed 700202 at abbf610: an entry on a read from before a withdrawal, 210 s of it blind."""
    blind_ms = 210_000
    made = changes((GONE_MS, GONE_MS + blind_ms))
    assert made.unknown(GONE_MS + blind_ms + KNOWN_AFTER_MS) == 300
    assert made.unknown(GONE_MS + blind_ms + KNOWN_AFTER_MS + 1) == 0


@pytest.mark.parametrize("blind_ms", [AGE_MAX_MS, 10 * AGE_MAX_MS])
def test_no_blindness_excuses_an_entry_on_a_read_that_is_too_old(blind_ms: int) -> None:
    made = changes((GONE_MS, GONE_MS + blind_ms))
    assert made.unknown(GONE_MS + AGE_MAX_MS + KNOWN_AFTER_MS + 1) == 0
