"""``Approved``: only the governor makes it, and it cannot be changed or copied."""

from __future__ import annotations

import copy
import pickle

import pytest

from kamou.core.risk.governor import review_entry
from kamou.core.risk.verdict import Approved, Denied, is_genuine
from tests.core.trading_cases import NOON, Story, plan, review


@pytest.fixture
def approved() -> Approved:
    story = Story()
    story.ready()
    verdict, _ = review_entry(review(story.book, plan()))
    assert isinstance(verdict, Approved)
    return verdict


def test_an_approval_made_outside_the_governor_raises() -> None:
    with pytest.raises(TypeError, match="only the risk governor makes an Approved"):
        Approved(mint=object(), plan=plan(), snapshot_seq=1, expires_at_ms=NOON)


def test_an_approval_cannot_be_copied_or_pickled(approved: Approved) -> None:
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            attempt(approved)


def test_an_approval_cannot_be_changed(approved: Approved) -> None:
    with pytest.raises(AttributeError):
        approved.quantity_max = plan().quantity * 2
    assert "100 SOLUSDT" in repr(approved)


def test_a_forged_approval_is_not_genuine(approved: Approved) -> None:
    forged = object.__new__(Approved)
    for name in Approved.__slots__:
        if name != "__weakref__":
            object.__setattr__(forged, name, getattr(approved, name))
    assert is_genuine(approved)
    assert not is_genuine(forged)
    assert not is_genuine(Denied(permit_id="p", denials=()))
