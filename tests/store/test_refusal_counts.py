"""The counts of refusals by code are those of the journal's events."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from kamou.core.book import events as e
from kamou.core.book.candidate_events import CandidatesVetoed, EntriesDenied
from kamou.core.kinds import Tier
from kamou.store import database
from kamou.store.journal import read_events
from kamou.store.refusal_counts import StrategyCounts, count_by_strategy, count_refusals
from tests.runs.traded_days import trade_days


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("traded") / "journal.sqlite3"
    trade_days(path)
    return path


def test_each_code_of_each_refusal_in_the_journal_is_counted_once(journal: Path) -> None:
    reader = database.open_reader(journal)
    wanted: Counter[tuple[Tier, str]] = Counter()
    for stored in read_events(reader, 0):
        match stored.event:
            case e.CycleRanked(abstained=abstained):
                for figure in abstained:
                    wanted[Tier.STRATEGY, figure.name.split(".")[1]] += int(figure.value)
            case CandidatesVetoed(candidates=vetoed):
                wanted.update((Tier.VETO, d.code) for each in vetoed for d in each.denials)
            case EntriesDenied(entries=denied):
                wanted.update((Tier.GOVERNOR, d.code) for each in denied for d in each.denials)
            case e.PermitDenied(denials=denials):
                wanted.update((Tier.GOVERNOR, denial.code) for denial in denials)
            case e.OrderRejected(code=code):
                wanted[Tier.VENUE, code] += 1
            case _:
                pass
    found = count_refusals(reader)
    reader.close()
    assert {(each.tier, each.code): each.count for each in found} == wanted
    assert {Tier.STRATEGY, Tier.VETO, Tier.GOVERNOR} <= {tier for tier, _ in wanted}
    for tier in Tier:
        counts = [each.count for each in found if each.tier is tier]
        assert counts == sorted(counts, reverse=True)


def test_signals_and_abstentions_are_counted_by_strategy(journal: Path) -> None:
    reader = database.open_reader(journal)
    signals: Counter[str] = Counter()
    abstained: dict[str, Counter[str]] = {}
    for stored in read_events(reader, 0):
        if isinstance(stored.event, e.CycleRanked):
            ranked = stored.event
            assert sum(int(each.value) for each in ranked.by_strategy) == ranked.candidates
            signals.update({each.name: int(each.value) for each in ranked.by_strategy})
            for figure in ranked.abstained:
                strategy, code = figure.name.split(".")
                abstained.setdefault(strategy, Counter())[code] += int(figure.value)
    found = count_by_strategy(reader)
    reader.close()
    assert signals
    assert found == {
        name: StrategyCounts(candidates=signals[name], abstained=dict(abstained[name]))
        for name in abstained
    }
    for each in found.values():
        assert list(each.abstained.values()) == sorted(each.abstained.values(), reverse=True)
