"""The figures of a refiner's verdicts, from their definitions, one plain loop each.

Shares nothing with ``kamou/core/record/refiner_value.py``: fractions and whole enumerations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from itertools import permutations

Line = tuple[int, str, Fraction, float]  # opening (ms), verdict, R, score


def mean_of(values: Sequence[Fraction]) -> Fraction:
    return sum(values, Fraction(0)) / len(values)


def uplift(lines: Sequence[Line], verdicts: Sequence[str]) -> Fraction:
    approved = [line[2] for line, each in zip(lines, verdicts, strict=True) if each == "approve"]
    refused = [line[2] for line, each in zip(lines, verdicts, strict=True) if each == "refuse"]
    return mean_of(approved) - mean_of(refused)


def day(line: Line) -> str:
    return datetime.fromtimestamp(line[0] / 1000, UTC).date().isoformat()


def rearranged(lines: Sequence[Line]) -> Iterator[list[str]]:
    """Yield every order of the verdicts in which each day keeps its own, repeats included."""
    for order in permutations(range(len(lines))):
        if all(day(lines[a]) == day(lines[b]) for a, b in enumerate(order)):
            yield [lines[each][1] for each in order]


def p_value(lines: Sequence[Line]) -> Fraction:
    seen = uplift(lines, [line[1] for line in lines])
    found = [uplift(lines, each) >= seen for each in rearranged(lines)]
    return Fraction(sum(found), len(found))


def lowest_scores_refused(lines: Sequence[Line]) -> Fraction:
    count = sum(line[1] == "refuse" for line in lines)
    by_score = sorted(lines, key=lambda line: line[3])
    return mean_of([line[2] for line in by_score[count:]]) - mean_of(
        [line[2] for line in by_score[:count]]
    )
