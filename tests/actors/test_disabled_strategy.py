"""A strategy that entered too often is disabled until the operator resumes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

from kamou.core.book.strategy_events import StrategyDisabled, StrategyResumed
from kamou.operator.metrics import exposition
from kamou.runs.operator_actions import CurrentRun
from tests.actors.system_harness import SETTINGS, Harness, at, run_system

# Lower than the entries of the first run: under one limit the rules deny the entry that exceeds it.
STRICT = attrs.evolve(SETTINGS, risk=attrs.evolve(SETTINGS.risk, entries_per_strategy_hour=3))


def test_a_disabled_strategy_is_reported_survives_a_restart_and_waits_for_the_operator(
    tmp_path: Path,
) -> None:
    lines: list[str] = []
    seen: dict[str, Any] = {}

    async def look(harness: Harness) -> None:
        running = CurrentRun()
        await running.show_tree(harness.tree, harness.supervisor, lines.append)
        await harness.until(10.5)
        seen["status"] = running.status()
        seen["readyz"] = running.not_ready()
        seen["metrics"] = exposition(running.snapshot(), running.status())

    async def resume(harness: Harness) -> None:
        running = CurrentRun()
        await running.show_tree(harness.tree, harness.supervisor, lines.append)
        await harness.until(13.5)
        seen["still"] = running.status()["disabled_strategies"]
        seen["resumed"] = await running.resume("looked at")
        await harness.until(15.5)  # a reconciliation later
        seen["after"] = running.status()["disabled_strategies"]

    run_system(data_dir=tmp_path, minutes=5)
    ended = run_system(data_dir=tmp_path, begin_ms=at(9), minutes=12, settings=STRICT, direct=look)
    (disabled,) = ended.of(StrategyDisabled)
    assert (disabled.strategy, disabled.code) == ("scripted", "RATE_ENTRIES_EXCEEDED")
    assert at(9) <= disabled.at_ms <= at(9) + 5_000
    denied = [d.code for e in ended.denied if e.at_ms > at(11) for d in e.denials]
    assert "STRATEGY_DISABLED" in denied  # the signals of minute 11
    words = "strategy scripted is disabled until the operator resumes it with `kamou resume`"
    assert seen["status"]["disabled_strategies"] == ["scripted"]
    assert words in seen["readyz"]
    assert 'kamou_strategy_disabled{strategy="scripted"} 1.0' in seen["metrics"]

    ended = run_system(
        data_dir=tmp_path, begin_ms=at(13), minutes=16, settings=STRICT, direct=resume
    )
    assert seen["still"] == ["scripted"]
    # Each of the two starts shows the line.
    assert lines[:2] == [words, words]
    assert len(ended.of(StrategyDisabled)) == 1
    (resumed,) = ended.of(StrategyResumed)
    assert (resumed.strategy, resumed.note) == ("scripted", "looked at")
    assert "disabled_strategies" not in seen["resumed"]
    assert seen["after"] == []
    assert lines[-1] == "strategy scripted may enter again: the operator resumed it"
