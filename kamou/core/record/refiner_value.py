"""The value of the refiner's verdicts, measured on shadow trades.

Every candidate that passed the vetoes (T2) has a shadow trade, whatever the verdict on it. So the
mean R of refused candidates is known, and uplift is mean R of the approved ones minus mean R of the
refused ones. Shrunk ones are in neither arm. Four things stand beside it:

- a permutation test. Verdicts are exchanged within each UTC day only, so a market that moves all
  trades of a day cannot look like skill. Without skill the verdicts of a day are exchangeable, and
  the p-value is exact. A model that refuses whole days is not measured by it.
- the placebo, a random veto that refuses as many trades of each day.
- a baseline without a model, which refuses as many trades, those with the lowest scores.
- the Brier score of the stated probabilities of a gain, and its skill over the share of gains.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import combinations
from statistics import NormalDist

import attrs
import numpy as np

from kamou.core.arrays import Floats, Mask
from kamou.core.day import DAY_MS
from kamou.core.kinds import RefinerVerdict

ARRANGEMENTS_MAX = 20_000  # up to this number all are counted, and no draw is made
DRAWS = 20_000
DRAWN_AT_ONCE = 1_000_000  # random keys in memory, 8 MB
SIGNIFICANCE = 0.05  # one-sided
POWER = 0.8
EFFECTS_R = (0.1, 0.2, 0.3, 0.5)
PLACEBO_QUANTILES = (0.05, 0.95)


@attrs.frozen(kw_only=True)
class JudgedTrade:
    """A closed shadow trade with the verdict on its candidate."""

    strategy: str
    symbol: str
    opened_at_ms: int
    closed_at_ms: int
    r: Decimal  # net PnL over planned risk
    verdict: RefinerVerdict  # of the model: approve, refuse or shrink
    score: float  # of the candidate, 0 to 1
    p_win_pct: int | None  # stated probability of a gain, 0 to 100; None: not stated
    cost_usd: Decimal  # of the model's call


@attrs.frozen(kw_only=True)
class VerdictArm:
    """The closed shadow trades with one verdict."""

    verdict: RefinerVerdict
    n: int
    mean_r: float | None  # None without a trade
    deviation_r: float | None  # sample deviation, n - 1; None below two trades


@attrs.frozen(kw_only=True)
class RefinerValue:
    """Figures of the value of a refiner's verdicts. R is net; uplift is in R a trade."""

    n: int
    days: int  # UTC days on which trades opened
    arms: tuple[VerdictArm, ...]  # approve, shrink, refuse
    uplift_r: float | None  # mean R approved less mean R refused; None without one of the arms
    # Share of arrangements of the verdicts with at least this uplift; None without an uplift.
    p_value: float | None
    arrangements: int  # counted or drawn for the p-value; 0 without an uplift
    counted_all: bool  # True: every arrangement; False: drawn
    placebo_r: tuple[float, float] | None  # uplift of random vetoes, 5 % and 95 % quantile
    score_uplift_r: float | None  # of the baseline by score; None without an uplift
    brier: float | None  # mean square error of p_win; None if no trade has one
    brier_skill: float | None  # 1 - Brier / that of the share of gains; None without variation
    p_wins: int  # trades with a stated probability
    cost_usd: Decimal  # of all calls
    trades_per_arm: tuple[tuple[float, int], ...] | None  # by effect in R; None: no deviation


def measure_refiner_value(trades: Sequence[JudgedTrade], seed: int) -> RefinerValue:
    """Return the figures of a refiner's verdicts on closed shadow trades.

    Args:
        trades: in any order; the verdict of each is approve, refuse or shrink.
        seed: of the draws, which are made if there are more than ``ARRANGEMENTS_MAX``
            arrangements.

    Raises:
        ValueError: a verdict is no verdict of a model.
    """
    verdicts = (RefinerVerdict.APPROVE, RefinerVerdict.SHRINK, RefinerVerdict.REFUSE)
    if strange := {each.verdict for each in trades} - set(verdicts):
        raise ValueError(f"{sorted(strange)[0]} is no verdict of a model; leave its trades out")
    ordered = sorted(trades, key=_order)
    arms = tuple(_arm(verdict, ordered) for verdict in verdicts)
    sided = [each for each in ordered if each.verdict is not RefinerVerdict.SHRINK]
    results = np.array([float(each.r) for each in sided])
    refused = np.array([each.verdict is RefinerVerdict.REFUSE for each in sided], dtype=bool)
    brier, skill, stated = _measure_brier(ordered)
    deviation = _pooled_deviation(results, refused)
    value = RefinerValue(
        n=len(ordered),
        days=len({each.opened_at_ms // DAY_MS for each in ordered}),
        arms=arms,
        uplift_r=None,
        p_value=None,
        arrangements=0,
        counted_all=False,
        placebo_r=None,
        score_uplift_r=None,
        brier=brier,
        brier_skill=skill,
        p_wins=stated,
        cost_usd=sum((each.cost_usd for each in ordered), Decimal(0)),
        trades_per_arm=None if not deviation else find_trades_per_arm(deviation),
    )
    if not refused.any() or refused.all():
        return value
    days = np.array([each.opened_at_ms // DAY_MS for each in sided])
    scores = np.array([each.score for each in sided])
    uplift = _uplift(results, refused)
    others, counted_all = _arrange(results, refused, days, seed)
    # A sum in another order may differ in the last digits; it still counts as equal.
    reached = int((others >= uplift - 1e-12 * max(1.0, abs(uplift))).sum())
    p_value = reached / len(others) if counted_all else (reached + 1) / (len(others) + 1)
    low, high = np.quantile(others, PLACEBO_QUANTILES)
    return attrs.evolve(
        value,
        uplift_r=uplift,
        p_value=p_value,
        arrangements=len(others),
        counted_all=counted_all,
        placebo_r=(float(low), float(high)),
        score_uplift_r=_uplift(results, _refuse_lowest(scores, int(refused.sum()))),
    )


def find_trades_per_arm(deviation_r: float) -> tuple[tuple[float, int], ...]:
    """Return for each of ``EFFECTS_R`` the trades per arm that show it.

    A one-sided test at 5 % has a power of 80 % with 2 (z_0.95 + z_0.8)^2 (deviation / effect)^2
    trades in each arm, rounded to the nearest whole number (normal approximation).
    """
    normal = NormalDist()
    z = normal.inv_cdf(1 - SIGNIFICANCE) + normal.inv_cdf(POWER)
    return tuple((each, round(2 * (z * deviation_r / each) ** 2)) for each in EFFECTS_R)


def _order(trade: JudgedTrade) -> tuple[int, str, str, int]:
    """Return a key that does not depend on the order of the file."""
    return trade.opened_at_ms, trade.strategy, trade.symbol, trade.closed_at_ms


def _arm(verdict: RefinerVerdict, trades: Sequence[JudgedTrade]) -> VerdictArm:
    own = [float(each.r) for each in trades if each.verdict is verdict]
    mean = math.fsum(own) / len(own) if own else None
    deviation = None
    if mean is not None and len(own) > 1:
        deviation = math.sqrt(math.fsum((each - mean) ** 2 for each in own) / (len(own) - 1))
    return VerdictArm(verdict=verdict, n=len(own), mean_r=mean, deviation_r=deviation)


def _pooled_deviation(results: Floats, refused: Mask) -> float | None:
    """Return the deviation within the two arms; None below three trades."""
    free = len(results) - len(np.unique(refused))
    if free < 1:
        return None
    arms = [arm for arm in (results[refused], results[~refused]) if len(arm)]
    return math.sqrt(sum(float(((arm - arm.mean()) ** 2).sum()) for arm in arms) / free)


def _uplift(results: Floats, refused: Mask) -> float:
    return float(results[~refused].mean() - results[refused].mean())


def _refuse_lowest(scores: Floats, count: int) -> Mask:
    """Return a mask of the ``count`` lowest scores; of equal ones the earliest trades."""
    refused = np.zeros(len(scores), dtype=bool)
    refused[np.argsort(scores, kind="stable")[:count]] = True
    return refused


def _arrange(results: Floats, refused: Mask, days: np.ndarray, seed: int) -> tuple[Floats, bool]:
    """Return the uplift of arrangements of the verdicts, and True if these are all.

    Each arrangement exchanges verdicts within days.
    """
    count = len(results)
    of_day: dict[int, list[int]] = defaultdict(list)
    for place, day in enumerate(days.tolist()):
        of_day[day].append(place)
    places = [np.array(each) for each in of_day.values()]
    refusals = [int(refused[each].sum()) for each in places]
    total = math.prod(map(math.comb, map(len, places), refusals))
    if total <= ARRANGEMENTS_MAX:
        sums = np.array([0.0])
        for own, chosen in zip(places, refusals, strict=True):
            sums = np.add.outer(sums, _sums_of_chosen(results[own], chosen)).ravel()
    else:
        sums = np.concatenate(list(_draw_sums(results, places, refusals, seed)))
    all_refused = sum(refusals)
    uplift: Floats = (results.sum() - sums) / (count - all_refused) - sums / all_refused
    return uplift, total <= ARRANGEMENTS_MAX


def _sums_of_chosen(results: Floats, chosen: int) -> Floats:
    """Return the sum of each choice of ``chosen`` results."""
    return np.array(
        [results[list(each)].sum() for each in combinations(range(len(results)), chosen)]
    )


def _draw_sums(
    results: Floats, places: Sequence[np.ndarray], refusals: Sequence[int], seed: int
) -> Iterator[Floats]:
    """Yield sums of R over refused trades, for random arrangements within days."""
    rng = np.random.default_rng(seed)
    chunk = max(1, min(DRAWS, DRAWN_AT_ONCE // len(results)))
    for first in range(0, DRAWS, chunk):
        rows = min(chunk, DRAWS - first)
        sums = np.zeros(rows)
        for own, chosen in zip(places, refusals, strict=True):
            if chosen:
                keys = rng.random((rows, len(own)))
                picked = np.argpartition(keys, chosen - 1, axis=1)[:, :chosen]
                sums += results[own][picked].sum(axis=1)
        yield sums


def _measure_brier(
    trades: Sequence[JudgedTrade],
) -> tuple[float | None, float | None, int]:
    """Return Brier score, skill and number of the trades with a stated probability.

    A trade is a gain if its R is above 0. The skill is None if all or none are gains.
    """
    stated = [(each.p_win_pct / 100, each.r > 0) for each in trades if each.p_win_pct is not None]
    if not stated:
        return None, None, 0
    brier = math.fsum((p - gain) ** 2 for p, gain in stated) / len(stated)
    share = sum(gain for _, gain in stated) / len(stated)
    base = share * (1 - share)
    return brier, None if not base else 1 - brier / base, len(stated)
