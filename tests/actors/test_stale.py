"""Stale accounts and marks deny entries at once, then halt them until they are fresh."""

from __future__ import annotations

from functools import partial
from typing import Any

import attrs

from kamou.core.book.events import PermitGranted, StateChanged
from kamou.core.model import Quote, TradingState
from kamou.operator.metrics import exposition
from kamou.runs.operator_actions import CurrentRun
from tests.actors.system_harness import SETTINGS, Ended, Harness, at, run_system
from tests.actors.trouble import Trouble, TroubledExchange

RISK = attrs.evolve(SETTINGS.risk, account_age_max_s=60, stale_halt_s=60, equity_confirm_s=5)
STRICT = attrs.evolve(SETTINGS, risk=RISK)


def changes(ended: Ended) -> list[tuple[TradingState, str]]:
    return [(change.after, change.reason) for change in ended.of(StateChanged)]


def blind(direct: Any) -> tuple[Trouble, Ended]:
    trouble = Trouble()
    ended = run_system(
        adapter=partial(TroubledExchange, trouble=trouble),
        settings=STRICT,
        direct=partial(direct, trouble),
    )
    return trouble, ended


def test_an_account_without_reads_stops_entries_until_two_new_reads() -> None:
    async def direct(trouble: Trouble, harness: Harness) -> None:
        await harness.until(1.5)
        trouble.away = frozenset({"account"})
        await harness.until(5.5)
        trouble.away = frozenset()

    _, ended = blind(direct)
    halt, resumed = ended.of(StateChanged)
    assert (halt.after, halt.reason) == (TradingState.REDUCE_ONLY, "EQUITY_UNKNOWN")
    # The read of minute 1, its age limit, and as much again; the halt follows within 6 s.
    assert at(3) <= halt.at_ms <= at(3) + 6_000
    assert int(halt.figures[0].value) > 60_000
    assert (resumed.after, resumed.reason) == (TradingState.ACTIVE, "DATA_RECOVERED")
    assert at(6) <= resumed.at_ms <= at(7.2)
    granted = [event.at_ms for event in ended.of(PermitGranted)]
    assert not [at_ms for at_ms in granted if at(2.1) < at_ms < resumed.at_ms]
    denials = [d for e in ended.denied for d in e.denials if d.code == "ACCOUNT_STALE"]
    assert denials
    assert all(any(f.name == "age_ms" for f in d.figures) for d in denials)


class OldMarks(TroubledExchange):
    """A venue whose quotes of open positions may keep the time of ``minute``."""

    minute = 2.0

    async def quotes(self, symbols: tuple[str, ...]) -> dict[str, Quote]:
        found = await super().quotes(symbols)
        if self.trouble.cancel == "old":
            held = {p.symbol for p in self.engine.positions()}
            for symbol in held & found.keys():
                found[symbol] = attrs.evolve(found[symbol], at_ms=at(self.minute))
        return found


def test_a_halt_on_a_stale_account_is_in_journal_status_readyz_metrics_and_terminal() -> None:
    lines: list[str] = []
    seen: dict[str, Any] = {}

    async def direct(trouble: Trouble, harness: Harness) -> None:
        running = CurrentRun()
        await running.show_tree(harness.tree, harness.supervisor, lines.append)
        await harness.until(1.5)
        trouble.away = frozenset({"account"})
        await harness.until(3)  # the read of minute 1, its age limit, and as much again
        assert lines == []
        await harness.clock.sleep_until(at(3) + 6_000)
        seen["status"] = running.status()
        seen["readyz"] = running.not_ready()
        seen["metrics"] = exposition(running.snapshot(), running.status())
        trouble.away = frozenset()

    _, ended = blind(direct)
    halt, _ = ended.of(StateChanged)
    assert at(3) <= halt.at_ms <= at(3) + 6_000
    assert (seen["status"]["state"], seen["status"]["state_reason"]) == (
        "reduce_only",
        "EQUITY_UNKNOWN",
    )
    assert [line for line in seen["readyz"] if "account or marks are too old" in line]
    assert 'kamou_trading_state{state="reduce_only"} 1.0' in seen["metrics"]
    halted, resumed = lines
    assert halted.startswith(
        "halted by the risk governor: account or prices were unknown or too old (too old by 1"
        " min): no entries until two fresh reads and a clean reconciliation; trading state"
        " reduce_only, no new trades; before active"
    )
    assert resumed.startswith(
        "resumed by the risk governor: account, prices, disk and book were in order again (the"
    )
    assert resumed.endswith("; trading state active; before reduce_only")


def test_old_marks_of_open_positions_deny_entries_at_once_and_halt_after_a_minute() -> None:
    trouble = Trouble()

    async def direct(harness: Harness) -> None:
        await harness.until(2.5)
        trouble.cancel = "old"
        await harness.until(5.5)
        trouble.cancel = ""

    ended = run_system(adapter=partial(OldMarks, trouble=trouble), settings=STRICT, direct=direct)
    assert changes(ended) == [
        (TradingState.REDUCE_ONLY, "EQUITY_UNKNOWN"),
        (TradingState.ACTIVE, "DATA_RECOVERED"),
    ]
    halt, resumed = ended.of(StateChanged)
    assert at(3) < halt.at_ms <= at(3) + 16_000  # marks of minute 2: ten seconds and a minute
    assert at(5.5) < resumed.at_ms <= at(7.2)
    granted = [event.at_ms for event in ended.of(PermitGranted)]
    assert not [at_ms for at_ms in granted if at(2.5) < at_ms < resumed.at_ms]


class FifteenSecondsOld(OldMarks):
    minute = 1.75


def test_old_marks_that_are_fresh_again_within_the_minute_only_deny_entries() -> None:
    trouble = Trouble()

    async def direct(harness: Harness) -> None:
        await harness.until(1.9)
        trouble.cancel = "old"
        await harness.until(2.5)
        trouble.cancel = ""

    adapter = partial(FifteenSecondsOld, trouble=trouble)
    ended = run_system(adapter=adapter, settings=STRICT, direct=direct)
    assert changes(ended) == []
    denials = [d for e in ended.denied for d in e.denials if d.code == "MARK_STALE"]
    assert denials
    assert {f.value for d in denials for f in d.figures if f.name == "age_ms"} == {"17000"}
    assert [event for event in ended.of(PermitGranted) if event.at_ms > at(2.5)]
