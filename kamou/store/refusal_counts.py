"""Counts of signals and of the codes of all refusals, from the journal's events.

The table of refusals keeps only the newest ones. This module reads all events, so it is for a
report and not for a page.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping

import attrs

from kamou.core.book.candidate_events import CandidatesRefined, CandidatesVetoed, EntriesDenied
from kamou.core.book.events import CycleRanked, Event, OrderRejected, PermitDenied
from kamou.core.kinds import RefinerVerdict, Tier
from kamou.messages.codec import kind_of


@attrs.frozen(kw_only=True)
class RefusalCount:
    """Number of times that a tier gave a code; one refusal may have several codes.

    GOVERNOR includes denials of the order manager. VENUE counts each rejected order, attached ones
    and orders that the exchange port denied included.
    """

    tier: Tier
    code: str
    count: int


_OF_DENIALS = """SELECT json_extract(d.value, '$.code'), count(*)
    FROM event, json_each(CAST(body AS TEXT), '$.denials') d
    WHERE kind = ? GROUP BY 1"""
_OF_VETOED = """SELECT json_extract(d.value, '$.code'), count(*)
    FROM event, json_each(CAST(body AS TEXT), '$.candidates') c, json_each(c.value, '$.denials') d
    WHERE kind = ? GROUP BY 1"""
_OF_ENTRIES = """SELECT json_extract(d.value, '$.code'), count(*)
    FROM event, json_each(CAST(body AS TEXT), '$.entries') c, json_each(c.value, '$.denials') d
    WHERE kind = ? GROUP BY 1"""
_OF_ABSTENTIONS = """SELECT json_extract(d.value, '$.name'),
    sum(CAST(json_extract(d.value, '$.value') AS INTEGER))
    FROM event, json_each(CAST(body AS TEXT), '$.abstained') d
    WHERE kind = ? GROUP BY 1"""
_OF_SIGNALS = _OF_ABSTENTIONS.replace("abstained", "by_strategy")
_OF_REJECTIONS = """SELECT json_extract(CAST(body AS TEXT), '$.code'), count(*)
    FROM event WHERE kind = ? GROUP BY 1"""
_OF_VERDICTS = f"""SELECT json_extract(c.value, '$.reason_code'), count(*)
    FROM event, json_each(CAST(body AS TEXT), '$.candidates') c
    WHERE kind = ?
    AND json_extract(c.value, '$.verdict') = '{RefinerVerdict.REFUSE}' GROUP BY 1"""

_QUERIES: tuple[tuple[Tier, Mapping[type[Event], str]], ...] = (
    (Tier.STRATEGY, {CycleRanked: _OF_ABSTENTIONS}),
    (Tier.VETO, {CandidatesVetoed: _OF_VETOED}),
    (Tier.REFINER, {CandidatesRefined: _OF_VERDICTS}),
    (Tier.GOVERNOR, {EntriesDenied: _OF_ENTRIES, PermitDenied: _OF_DENIALS}),
    (Tier.VENUE, {OrderRejected: _OF_REJECTIONS}),
)


def count_refusals(reader: sqlite3.Connection) -> tuple[RefusalCount, ...]:
    """Return the counts of all codes by tier, the most frequent code of a tier first."""
    found: list[RefusalCount] = []
    for tier, queries in _QUERIES:
        counts: Counter[str] = Counter()
        for event, query in queries.items():
            for name, count in reader.execute(query, (kind_of(event),)):
                counts[str(name).rpartition(".")[2]] += count  # an abstention is STRATEGY.CODE
        found += [
            RefusalCount(tier=tier, code=code, count=count)
            for code, count in sorted(counts.items(), key=lambda each: (-each[1], each[0]))
        ]
    return tuple(found)


@attrs.frozen(kw_only=True)
class StrategyCounts:
    """A strategy's number of signals, and its abstentions by code.

    The most frequent code comes first.
    """

    candidates: int
    abstained: Mapping[str, int]


def count_by_strategy(reader: sqlite3.Connection) -> dict[str, StrategyCounts]:
    """Return the counts of each strategy that has a signal or an abstention, by name."""
    ranked = (kind_of(CycleRanked),)
    signals = {str(name): int(count) for name, count in reader.execute(_OF_SIGNALS, ranked)}
    abstained: dict[str, dict[str, int]] = {}
    found = reader.execute(_OF_ABSTENTIONS, ranked).fetchall()
    for name, count in sorted(found, key=lambda each: (-each[1], each[0])):
        strategy, _, code = str(name).rpartition(".")
        abstained.setdefault(strategy, {})[code] = int(count)
    return {
        name: StrategyCounts(candidates=signals.get(name, 0), abstained=abstained.get(name, {}))
        for name in sorted({*signals, *abstained})
    }
