"""Status and metrics of the public site, and the journalling of its events."""

from __future__ import annotations

from collections import deque
from typing import Any

import attrs
import pytest
from trio.testing import MockClock

from kamou.commands.status_text import system_blocks
from kamou.core.book.site_events import SiteFailed
from kamou.errors import DiskFullError, SiteError
from kamou.operator.metrics import exposition
from kamou.operator.phases import RunPhase
from kamou.runs.operator_actions import CurrentRun
from tests.site.sites import Recorder, make_health
from tests.site.test_health import BEAT


@attrs.define
class Journal:
    """Fake journal that takes casts until its disk is full."""

    taken: deque[object] = attrs.Factory(deque)
    full: bool = False

    def cast(self, event: object) -> None:
        if self.full:
            raise DiskFullError("no space")
        self.taken.append(event)


@attrs.define
class Tree:
    journal: Journal = attrs.Factory(Journal)


FAILED = SiteFailed(at_ms=1, trouble="crashed")


@pytest.mark.parametrize("phase", sorted(set(RunPhase) - {RunPhase.TRADING}))
def test_site_events_are_journalled_only_in_the_phase_trading(
    phase: RunPhase,
) -> None:
    tree: Any = Tree()
    assert not CurrentRun(phase=phase).record_event(FAILED)
    assert not CurrentRun(phase=phase, tree=tree).record_event(FAILED)
    assert not tree.journal.taken
    assert CurrentRun(phase=RunPhase.TRADING, tree=tree).record_event(FAILED)
    assert list(tree.journal.taken) == [FAILED]


def test_on_a_full_disk_a_site_event_is_lost_without_an_error() -> None:
    tree: Any = Tree(Journal(full=True))
    assert not CurrentRun(phase=RunPhase.TRADING, tree=tree).record_event(FAILED)


async def test_status_and_metrics_show_the_site(autojump_clock: MockClock) -> None:
    health = make_health(Recorder())
    health.record_start()
    health.record_heartbeat(BEAT)
    up = exposition({}, {"site": health.as_dict()})
    assert "kamou_site_up 1.0" in up
    assert "kamou_site_requests_total 5.0" in up
    assert "kamou_site_connections 2.0" in up
    health.record_end(SiteError("its process ended with signal 9"))
    down = exposition({}, {"site": health.as_dict()})
    assert "kamou_site_up 0.0" in down
    assert "kamou_site_requests_total 5.0" in down, "a counter never decreases"
    blocks = system_blocks({"site": health.as_dict()}, 200)
    text = "\n".join(line for block in blocks for line in block)
    assert "its process ended with signal 9" in text
    assert "down" in text
