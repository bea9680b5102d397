"""Scan details, which are the strategies' results for each symbol in one cycle.

A result is a score or an abstention. This module makes, encodes and reads the details. `kamou why`
shows them; no decision depends on them. They are kept for the newest cycles only, in a compact
form: a line of JSON with the names, then for each strategy the columns of its scores, abstentions
and figures as bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from kamou.core.arrays import Codes, Floats
from kamou.core.codes import Abstain
from kamou.core.model import Figure
from kamou.core.ranking.ranking import Ranking, Scored
from kamou.core.strategies.base import STALE_PERIODS, Requirement

ERROR_CHARS_MAX = 300  # maximum number of stored characters of a strategy's error
SCORE, BARS_FIGURE, BAR_AGE_S = "score", "bars", "bar_age_s"  # figures of every strategy
BYTES = 4  # of a score or a figure


@attrs.frozen(kw_only=True, eq=False)
class StrategyDetail:
    """Scores, abstentions and figures of one strategy for every symbol.

    ``requirements`` name the figures to show with each code. A figure is one of ``names``, or
    ``SCORE``.
    """

    score: Floats  # [symbols]
    abstain: Codes  # [symbols]
    names: tuple[str, ...] = ()
    figures: Floats = attrs.field(factory=lambda: np.zeros((0, 0)))  # [names, symbols]
    requirements: Mapping[Abstain, Requirement] = attrs.field(factory=dict)
    error: str = ""


@attrs.frozen(kw_only=True)
class ScanReason:
    """One strategy's result for one symbol.

    ``score`` is None if the strategy abstained.
    """

    strategy: str
    abstain: Abstain
    score: float | None
    figures: tuple[Figure, ...] = ()  # the figures that explain an abstention


def make_details(
    ranking: Ranking,
    *,
    bars: Mapping[str, float],
    last_close_ms: Mapping[str, float],
    errors: Mapping[str, str],
    period_ms: int,
    now_ms: int,
) -> dict[str, StrategyDetail]:
    """Return the scan detail of each strategy in a cycle.

    Args:
        ranking: the ranking of the cycle.
        bars: number of known bars, by symbol.
        last_close_ms: close of the newest bar, by symbol; negative without one.
        errors: errors of the strategies that raised, by strategy.
        period_ms: length of the bars.
        now_ms: time of the scan.
    """
    unknown = math.nan
    known = [bars.get(name, unknown) for name in ranking.names]
    closed_at_ms = [last_close_ms.get(name, -1.0) for name in ranking.names]
    age_s = [(now_ms - at_ms) / 1000 if at_ms >= 0 else unknown for at_ms in closed_at_ms]
    return {
        scored.strategy.name: _detail(scored, (known, age_s), errors, period_ms)
        for scored in ranking.scored
    }


def _detail(
    scored: Scored,
    data: tuple[Sequence[float], Sequence[float]],
    errors: Mapping[str, str],
    period_ms: int,
) -> StrategyDetail:
    strategy = scored.strategy
    names, features = scored.features()
    warm = Requirement(wanted=f"{strategy.warmup_bars(period_ms)} bars", figures=(BARS_FIGURE,))
    young = f"a newest bar that closed at most {STALE_PERIODS * period_ms // 1000} s ago"
    least = f"a score of at least {strategy.score_min:g} in absolute value, and not 0"
    return StrategyDetail(
        score=scored.score,
        abstain=scored.abstain,
        names=(*names, BARS_FIGURE, BAR_AGE_S),
        figures=np.concatenate((features, np.array(data, dtype=float))),
        requirements={
            Abstain.WARMING_UP: warm,
            Abstain.DATA_MISSING: warm,
            Abstain.DATA_STALE: Requirement(wanted=young, figures=(BAR_AGE_S,)),
            Abstain.SCORE_TOO_SMALL: Requirement(wanted=least, figures=(SCORE,)),
            **strategy.requirements,
        },
        error=errors.get(strategy.name, ""),
    )


def pack_details(symbols: Sequence[str], strategies: Mapping[str, StrategyDetail]) -> bytes:
    """Return the encoded details of one cycle.

    Every column is in the order of ``symbols``.
    """
    head = {
        "symbols": list(symbols),
        "strategies": list(strategies),
        "figures": {name: detail.names for name, detail in strategies.items()},
        "requirements": {
            name: {code.name: attrs.asdict(r) for code, r in detail.requirements.items()}
            for name, detail in strategies.items()
        },
        "errors": {name: detail.error[:ERROR_CHARS_MAX] for name, detail in strategies.items()},
    }
    parts = [json.dumps(head, separators=(",", ":")).encode(), b"\n"]
    for detail in strategies.values():
        assert len(detail.score) == len(detail.abstain) == len(symbols)
        assert not detail.names or detail.figures.shape == (len(detail.names), len(symbols))
        parts += [detail.score.astype("<f4").tobytes(), detail.abstain.astype(np.uint8).tobytes()]
        parts.append(detail.figures.astype("<f4").tobytes())
    return b"".join(parts)


def read_reasons(body: bytes, symbol: str) -> tuple[ScanReason, ...]:
    """Return each strategy's result for ``symbol``; empty if it was not scanned."""
    line, _, columns = body.partition(b"\n")
    head = json.loads(line)
    if symbol not in head["symbols"]:
        return ()
    count, at = len(head["symbols"]), head["symbols"].index(symbol)
    made, start = [], 0
    for strategy in head["strategies"]:
        names = head.get("figures", {}).get(strategy, ())  # none in details of older versions
        score = float(np.frombuffer(columns, "<f4", count, start)[at])
        start += BYTES * count
        abstain = Abstain(int(np.frombuffer(columns, np.uint8, count, start)[at]))
        start += count
        block = np.frombuffer(columns, "<f4", len(names) * count, start)
        start += BYTES * len(names) * count
        values = dict(zip(names, block.reshape(-1, count)[:, at].tolist(), strict=True))
        scored = abstain is Abstain.NONE
        made.append(
            ScanReason(
                strategy=strategy,
                abstain=abstain,
                score=score if scored else None,
                figures=()
                if scored
                else tuple(_figures(head, strategy, abstain, values | {SCORE: score})),
            )
        )
    return tuple(made)


def _figures(
    head: Mapping[str, Any], strategy: str, code: Abstain, values: Mapping[str, float]
) -> Iterator[Figure]:
    """Yield the figures that explain an abstention, and the strategy's condition.

    Yield the error if the strategy failed, and nothing if the code has no condition.
    """
    if code is Abstain.STRATEGY_FAILED:
        yield Figure(name="error", value=head.get("errors", {}).get(strategy) or "not recorded")
        return
    requirement = head.get("requirements", {}).get(strategy, {}).get(code.name)
    if requirement is None:
        return
    if requirement["found"]:
        yield Figure(name="found", value=requirement["found"])
    for name in requirement["figures"]:
        value = values.get(name, math.nan)
        yield Figure(name=name, value=f"{value:.4g}" if math.isfinite(value) else "unknown")
    yield Figure(name="wanted", value=requirement["wanted"])


def read_symbols(body: bytes) -> tuple[str, ...]:
    """Return the symbols of the encoded details, which are those of the scan."""
    return tuple(json.loads(body.partition(b"\n")[0])["symbols"])
