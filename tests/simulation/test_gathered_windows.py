"""Gathered windows are true or unknown, whatever the simulated stream does; lies are reported."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from kamou.core.market.flow import FLOW_WINDOW_MS, FlowWindows
from kamou.core.market.flow_stream import StreamedFlow
from kamou.simulator.invariants.gathered_windows import GatheredWindows
from kamou.simulator.scenario import Scenario
from kamou.simulator.simulated_flow import SimulatedWalk, read_rows
from kamou.simulator.simulation import Simulation
from kamou.venue.violations import HardRule

START_MS = 1_735_732_800_000
END_MS = START_MS + FLOW_WINDOW_MS
NOW_MS = END_MS + 1_000


class Story:
    """The invariant with what it reports, and the true window of two symbols."""

    def __init__(self) -> None:
        self.reported: list[tuple[HardRule, str]] = []
        self.coverage: Counter[str] = Counter()
        self.windows = GatheredWindows(report=self.report, coverage=self.coverage, read=read_rows)
        flow = StreamedFlow(("A", "B"), START_MS - 1)
        walk = SimulatedWalk(np.array([0, 1]))
        steps = range(START_MS - 30_000, END_MS, 5_000)
        found = [window for at in steps for window in flow.take(walk.read(at, at + 5_000))]
        self.true = found[-1]
        assert np.isfinite(self.true.values).all()

    def report(self, rule: HardRule, at_ms: int, symbol: str, detail: str) -> None:
        assert detail
        assert at_ms == NOW_MS
        self.reported.append((rule, symbol))


def changed(window: FlowWindows, figure: int, column: int, value: float) -> FlowWindows:
    values = window.values.copy()
    values[0, figure, column] = value
    return FlowWindows(symbols=window.symbols, end_ms=window.end_ms, values=values)


def test_a_true_window_and_an_unknown_one_are_no_violation() -> None:
    story = Story()
    story.windows.check(story.true, NOW_MS)
    for figure in range(7):
        story.windows.check(changed(story.true, figure, 0, float("nan")), NOW_MS)
    assert story.reported == []
    assert story.coverage == {"windows known": 2, "windows unknown": 1}


@pytest.mark.parametrize("figure", range(7))
def test_a_wrong_figure_is_reported(figure: int) -> None:
    story = Story()
    wrong = float(story.true.values[0, figure, 1]) + 1e-6
    story.windows.check(changed(story.true, figure, 1, wrong), NOW_MS)
    assert story.reported == [(HardRule.ORDER_FLOW, "B")]


def test_a_simulated_stream_with_faults_gives_true_and_unknown_windows() -> None:
    faults = frozenset({"flow_trouble", "half_open", "actor_crash"})
    simulation = Simulation(Scenario(seed=3, hours=0.5, faults=faults))
    simulation.run()
    monitor = simulation.monitor
    assert monitor.found == []
    assert monitor.coverage["windows known"] > 10
    assert monitor.coverage["windows unknown"] > 10


def test_a_simulation_without_the_fault_gathers_nothing() -> None:
    simulation = Simulation(Scenario(seed=3, hours=0.1, faults=frozenset()))
    simulation.run()
    assert simulation.monitor.coverage["windows known"] == 0
    assert simulation.monitor.coverage["windows unknown"] == 0
