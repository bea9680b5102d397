"""Disabled strategies on the page: name, time, reason and the operator's resume."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from kamou.core.book.events import Event
from kamou.core.book.operator_events import CommandRecorded
from kamou.core.book.strategy_events import StrategyDisabled, StrategyResumed
from kamou.core.codes import Deny, StateReason
from kamou.core.day import HOUR_MS
from kamou.core.model import Figure
from kamou.runtime.runners import run_inline
from kamou.store.database import open_writer
from kamou.store.journal import JournalWriter
from kamou.web.app import PublicSite
from kamou.web.format import DASH
from kamou.web.site import Site
from tests.web.published_record import START_MS, write_record

Client = Callable[[PublicSite], httpx.AsyncClient]
SINCE_MS = START_MS + 40 * HOUR_MS


@pytest.fixture
def write_events(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes events after a record of three days without a halt."""

    def write(*events: Event) -> Path:
        path = tmp_path / "journal.sqlite3"
        if not path.exists():
            write_record(path, days=3, halt_day=None, outage_day=None)
        writer = open_writer(path, durable=False)
        JournalWriter(writer, run_number=1).append(list(events))
        writer.close()
        return path

    return write


def disabled(
    strategy: str, at_ms: int = SINCE_MS, code: Deny = Deny.RATE_ENTRIES_EXCEEDED
) -> StrategyDisabled:
    figures = (Figure(name="entries", value="5"), Figure(name="limit", value="4"))
    return StrategyDisabled(at_ms=at_ms, strategy=strategy, code=code, figures=figures)


async def published(
    path: Path, demo: Site, client: Client
) -> tuple[list[dict[str, Any]], int, str]:
    async with client(PublicSite(path, demo, runner=run_inline)) as http:
        found = (await http.get("/results.json")).json()
        page = (await http.get("/results")).text
    section = page.split("<h2>Halts, reduced size and downtime</h2>")[1].split("</section>")[0]
    return found["disabled_strategies"], found["disabled_strategies_total"], section


async def test_without_a_disabled_strategy_none_is_listed(
    write_events: Callable[..., Path], demo: Site, client: Client
) -> None:
    rows, total, section = await published(write_events(), demo, client)
    assert (rows, total) == ([], 0)
    assert "None so far." in section


async def test_a_disabled_strategy_is_listed_with_its_reason_and_the_times_of_start_and_resume(
    write_events: Callable[..., Path], demo: Site, client: Client
) -> None:
    path = write_events(disabled("mean_reversion"))
    (row,), total, section = await published(path, demo, client)
    assert total == 1
    assert row == {
        "strategy": "mean_reversion",
        "from_ms": SINCE_MS,
        "until_ms": None,
        "reason": "RATE_ENTRIES_EXCEEDED",
    }
    assert "2025-07-27 16:00" in section
    assert ">still</td>" in section
    assert "strategy mean reversion disabled: no new trades of it" in section
    assert "entered more often in an hour than its limit allows" in section

    resumed = StrategyResumed(at_ms=SINCE_MS + 3 * HOUR_MS, strategy="mean_reversion", note="seen")
    (row,), total, section = await published(write_events(resumed), demo, client)
    assert (row["until_ms"], total) == (SINCE_MS + 3 * HOUR_MS, 1)
    assert ">3 h</td>" in section
    assert "still" not in section
    assert "seen" not in section  # the operator's words are not for the public


async def test_a_resume_that_only_enables_a_strategy_is_listed_with_its_effect_and_no_duration(
    write_events: Callable[..., Path], demo: Site, client: Client
) -> None:
    at_ms = SINCE_MS + 3 * HOUR_MS
    path = write_events(
        disabled("mean_reversion"),
        StrategyResumed(at_ms=at_ms, strategy="mean_reversion", note="seen"),
        CommandRecorded(at_ms=at_ms, reason=StateReason.OPERATOR_RESUME, note="seen"),
    )
    _, _, section = await published(path, demo, client)
    assert "disabled strategies may enter again" in section
    assert "nothing changed" not in section
    assert f'data-label="For">{DASH}</td>' in section


async def test_disabled_strategies_are_resumed_singly_and_can_be_disabled_again(
    write_events: Callable[..., Path], demo: Site, client: Client
) -> None:
    path = write_events(
        disabled("mean_reversion"),
        disabled("oi_momentum", SINCE_MS + 1, Deny.RATE_REENTRIES_EXCEEDED),
        StrategyResumed(at_ms=SINCE_MS + 2, strategy="mean_reversion"),
        disabled("mean_reversion", SINCE_MS + 3),
        StrategyResumed(at_ms=SINCE_MS + 4, strategy="oi_momentum"),
    )
    rows, total, section = await published(path, demo, client)
    assert [(r["strategy"], r["from_ms"] - SINCE_MS, r["until_ms"]) for r in rows] == [
        ("mean_reversion", 0, SINCE_MS + 2),
        ("oi_momentum", 1, SINCE_MS + 4),
        ("mean_reversion", 3, None),
    ]
    assert total == 3
    assert "entered one symbol more often in a day than its limit allows" in section


async def test_the_newest_disabled_strategies_are_shown_and_all_are_counted(
    write_events: Callable[..., Path], demo: Site, client: Client
) -> None:
    events: list[Event] = [disabled("oi_momentum")]
    for n in range(1, 26):
        events.append(disabled("mean_reversion", SINCE_MS + n * 1_000))
        if n < 25:
            resumed_ms = SINCE_MS + n * 1_000 + 500
            events.append(StrategyResumed(at_ms=resumed_ms, strategy="mean_reversion"))
    rows, total, section = await published(write_events(*events), demo, client)
    assert total == 26
    assert [row["from_ms"] for row in rows] == [SINCE_MS + n * 1_000 for n in range(6, 26)]
    assert [row["until_ms"] is None for row in rows] == [False] * 19 + [True]
    assert "20 of 26 times of a disabled strategy" in section
