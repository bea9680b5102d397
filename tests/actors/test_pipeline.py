"""From bar to signal: failing strategies, late shards, missed bars and histories."""

from __future__ import annotations

from functools import partial
from typing import Any

import attrs
import numpy as np
import pytest
import trio

from kamou.actors.panel_loader import PanelLoader, split_symbols
from kamou.actors.scanner import Scanner
from kamou.app import SystemInputs, Tree
from kamou.core import strategies
from kamou.core.book.candidate_events import CandidatesRefined
from kamou.core.book.events import CycleRanked, IntentRecorded
from kamou.core.model import OrderRole
from kamou.core.strategies.evaluation import FailureKind, check_strategies, raise_failure
from kamou.messages.market import BarsClosed
from kamou.runtime.supervision import START_TIMEOUT_S
from kamou.settings.strategies import StrategySettings
from tests.actors import scripted_market
from tests.actors.account_of import faults
from tests.actors.system_harness import SETTINGS, Ended, Harness, at, replaced, run_system
from tests.actors.trouble import ALL, Trouble, TroubledExchange


def ranked(ended: Ended, minute: int) -> CycleRanked:
    (found,) = [e for e in ended.of(CycleRanked) if e.cycle_at_ms == at(minute)]
    return found


def abstained(cycle: CycleRanked) -> dict[str, str]:
    return {figure.name: figure.value for figure in cycle.abstained}


def entered(ended: Ended) -> dict[str, int]:
    """Return the minute of each symbol's last entry."""
    return {
        e.intent.symbol: round((e.at_ms - at(0)) / 60_000)
        for e in ended.of(IntentRecorded)
        if e.intent.role is OrderRole.ENTRY
    }


def test_a_strategy_that_raises_abstains_for_that_bar_and_its_shard_goes_on() -> None:
    both = StrategySettings(enabled=("scripted", "raising"))
    ended = run_system(settings=attrs.evolve(SETTINGS, strategies=both))
    minute = scripted_market.RAISES_AT_MINUTE
    assert abstained(ranked(ended, minute))["raising.STRATEGY_FAILED"] == "4"  # AAA to DDD
    assert "raising.STRATEGY_FAILED" not in abstained(ranked(ended, minute + 1))
    assert ended.crashes == []
    (failure,) = ended.failures
    assert (failure.strategy, failure.kind) == ("raising", FailureKind.RAISED)
    assert failure.bar_closed_at_ms == at(minute)
    assert failure.place.startswith("strategy_files/raising.py:")
    assert entered(ended)["FFF"] == minute  # the other shard traded in that very minute
    assert entered(ended)["AAA"] == 6
    assert faults(ended, until_minute=scripted_market.MINUTES) == []


def scanning(
    tree: Tree, inputs: SystemInputs, kind: type[Scanner], index: int, **more: Any
) -> Tree:
    """Return the tree with another kind of scanner for one shard."""
    symbols = inputs.market.symbols
    chosen = tuple(tree.strategies.values())
    parts = split_symbols(symbols, 2)
    panels = PanelLoader(
        port=tree.port,
        clock=inputs.clock,
        parts=parts,
        new_panel=lambda names: strategies.make_panel(chosen, names, tree.period_ms),
    )

    async def start(task_status: trio.TaskStatus[None]) -> None:
        await kind(
            index=index,
            inbox=tree.mailboxes.scanners[index],
            clock=inputs.clock,
            panels=panels,
            symbols=parts[index].symbols,
            strategies=check_strategies(tree.strategies, tree.period_ms),
            veto=tree.mailboxes.veto,
            on_strategy_failed=raise_failure,
            handler_deadline_s=300.0,
            **more,
        ).run(task_status)

    return replaced(tree, f"scanner-{index}", start)


class Slow(Scanner):
    """A scanner that handles one minute's bar slowly and notes its count of bars."""

    minute = 2
    takes_s = 2.5
    panels: list[tuple[int, int]]

    async def handle(self, message: object) -> None:
        assert isinstance(message, BarsClosed)
        if message.cycle_at_ms == at(self.minute):
            await trio.sleep(self.takes_s)
        await super().handle(message)
        self.panels.append((message.cycle_at_ms, int(self._panel.count.min())))


def slow_scanner(**attributes: Any) -> type[Slow]:
    """Return a scanner class with its own list of panels."""
    made: type[Slow] = type("SlowOfOneTest", (Slow,), {"panels": [], **attributes})
    return made


def test_a_late_shard_is_left_out_of_the_ranking_and_counted() -> None:
    kind = slow_scanner()
    ended = run_system(arrange=lambda tree, inputs: scanning(tree, inputs, kind, 1))
    late = {round((e.cycle_at_ms - at(0)) / 60_000): e.late_shards for e in ended.of(CycleRanked)}
    assert late[2] == 1
    assert sum(late.values()) == 1
    assert ranked(ended, 2).symbols == 4
    assert "EEE" not in entered(ended)  # its scores came after the deadline
    assert entered(ended)["DDD"] == 2
    assert faults(ended, until_minute=scripted_market.MINUTES) == []


def test_a_shard_that_missed_bars_reloads_them() -> None:
    kind = slow_scanner(takes_s=130.0)
    ended = run_system(arrange=lambda tree, inputs: scanning(tree, inputs, kind, 0))
    panels = dict(kind.panels)
    assert at(3) not in panels  # conflated: only the newest waited
    assert panels[at(4)] == panels[at(2)] + 2  # no hole in the count of consecutive bars
    assert entered(ended)["AAA"] == 6
    assert faults(ended, until_minute=scripted_market.MINUTES) == []


def test_bars_of_failed_reads_come_with_the_next_successful_read() -> None:
    trouble = Trouble()
    counts: list[float] = []

    async def direct(harness: Harness) -> None:
        await harness.until(2.5)
        trouble.away = frozenset({"bars"})
        await harness.until(4.5)
        trouble.away = frozenset()

    kind = slow_scanner(panels=counts, minute=-1)
    ended = run_system(
        adapter=partial(TroubledExchange, trouble=trouble),
        direct=direct,
        arrange=lambda tree, inputs: scanning(tree, inputs, kind, 0),
    )
    panels = dict(kind.panels)
    assert panels[at(3)] == panels[at(4)] == panels[at(2)]
    assert panels[at(5)] == panels[at(2)] + 3
    assert ranked(ended, 3).bar_closed_at_ms == 0
    assert faults(ended, until_minute=scripted_market.MINUTES) == []


def test_a_bar_history_that_could_not_be_read_at_the_start_is_read_later() -> None:
    trouble = Trouble(away=ALL)

    async def direct(harness: Harness) -> None:
        await harness.until(0.5)
        trouble.away = frozenset()

    kind = slow_scanner(minute=-1)
    ended = run_system(
        adapter=partial(TroubledExchange, trouble=trouble),
        direct=direct,
        arrange=lambda tree, inputs: scanning(tree, inputs, kind, 0),
    )
    assert (
        dict(kind.panels)[at(1)] == scripted_market.HISTORY + 1
    )  # the history and the bar of minute 1
    assert entered(ended)["BBB"] == 1
    assert faults(ended, until_minute=scripted_market.MINUTES) == []


class SlowHistory(TroubledExchange):
    """A venue that answers a read of history after 1.3 times the start timeout."""

    async def bars(self, period_ms: int, since_ms: int, until_ms: int) -> Any:
        if until_ms - since_ms > 10 * period_ms:
            await trio.sleep(1.3 * START_TIMEOUT_S)
        return await super().bars(period_ms, since_ms, until_ms)


class DeafToHistory(TroubledExchange):
    """A venue that answers no read of history in the first minute."""

    async def bars(self, period_ms: int, since_ms: int, until_ms: int) -> Any:
        if until_ms - since_ms > 10 * period_ms and self._clock.now_ms() < at(1):
            await trio.sleep_forever()
        return await super().bars(period_ms, since_ms, until_ms)


@pytest.mark.parametrize("kind", [SlowHistory, DeafToHistory])
def test_a_scanner_whose_history_takes_long_is_not_restarted(kind: Any) -> None:
    ended = run_system(adapter=partial(kind, trouble=Trouble()))
    assert ended.crashes == []
    assert entered(ended)["AAA"] == 6
    assert faults(ended, until_minute=scripted_market.MINUTES) == []


def test_candidates_whose_quotes_cannot_be_read_are_vetoed_with_data_stale() -> None:
    trouble = Trouble()

    async def direct(harness: Harness) -> None:
        await harness.until(1.5)
        trouble.away = frozenset({"quotes"})
        await harness.until(2.5)
        trouble.away = frozenset()

    ended = run_system(adapter=partial(TroubledExchange, trouble=trouble), direct=direct)
    stale = [each for _, each in ended.vetoed if each.denials[0].code == "DATA_STALE"]
    assert {e.symbol for e in stale} == {"DDD", "EEE", "HHH"}


@pytest.mark.parametrize("shards", [1, 2, 3, 8, 20])
def test_the_entries_do_not_depend_on_the_number_of_shards(shards: int) -> None:
    cycle = attrs.evolve(SETTINGS.cycle, shards=shards)
    ended = run_system(settings=attrs.evolve(SETTINGS, cycle=cycle))
    assert faults(ended, until_minute=scripted_market.MINUTES) == []
    signals = [c.candidate.signal_id for e in ended.of(CandidatesRefined) for c in e.candidates]
    assert len(signals) == 10
    assert entered(ended) == entered(run_system())


def test_open_interest_that_the_market_does_not_publish_is_an_empty_series() -> None:
    series = scripted_market.market().open_interest(0, at(9))
    assert series.values.shape == (0, len(scripted_market.SYMBOLS))
    assert np.isfinite(scripted_market.market().prices(at(1))).all()
