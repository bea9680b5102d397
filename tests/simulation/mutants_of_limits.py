"""Mutants without a portfolio limit, in planner and governor at once."""

from __future__ import annotations

from functools import partial

from kamou.venue.violations import HardRule
from tests.simulation.mutants import Mutant

ROOM = "kamou/core/risk/exposure.py"
ROWS = "kamou/core/risk/rules.py"
EQUITY = "kamou/core/risk/equity.py"


def _without(what: str, rule: str, left: str, notices: HardRule, faults: str) -> Mutant:
    """Return the mutant without the governor's ``rule`` and the planner's ``left``.

    Args:
        what: the limit, as people call it.
        rule: its function in the table of rules.
        left: the start of the planner's line, up to the expression of the unused limit.
        notices: the rule of the limit.
    """
    return Mutant(
        name=f"{what} is checked nowhere",
        file=ROWS,
        old=f"    portfolio.{rule},\n",
        new="",
        also=((ROOM, left, f"{left}100 * sizing_equity + "),),
        notices=(notices,),
        faults=faults,
        seeds=6,
    )


counts = partial(Mutant, file=ROWS, new="", faults="narrow_counts", seeds=6)
of_equity = partial(Mutant, file=EQUITY, notices=(HardRule.ADMISSION,), seeds=20)

LIMITS = (
    _without(
        "the daily budget",
        "daily_budget",
        "SizeLimit.DAY_BUDGET: ",
        HardRule.ADMISSION,
        "narrow_day_budget",
    ),
    _without(
        "open risk", "open_risk", "SizeLimit.OPEN_RISK: ", HardRule.OPEN_RISK, "narrow_open_risk"
    ),
    _without(
        "the cluster", "cluster", "risks[SizeLimit.CLUSTER] = ", HardRule.CLUSTER, "narrow_cluster"
    ),
    _without("the shock", "shock", "SizeLimit.SHOCK: ", HardRule.SHOCK, "narrow_shock"),
    _without(
        "total notional",
        "notional_total",
        "SizeLimit.NOTIONAL_TOTAL: ",
        HardRule.NOTIONAL,
        "narrow_notional",
    ),
    _without(
        "total margin", "margin_total", "SizeLimit.MARGIN_TOTAL: ", HardRule.MARGIN, "narrow_margin"
    ),
    counts(
        name="entries of an hour are not counted",
        old="    rate.entries_per_hour,\n",
        notices=(HardRule.ENTRIES_HOUR,),
    ),
    counts(
        name="re-entries of a day are not counted",
        old="    rate.reentries_per_day,\n",
        notices=(HardRule.ENTRIES_DAY,),
    ),
    of_equity(
        name="results realized since the account read are left out",
        old="    for change in book.account.changes.values():\n",
        new="    for change in tuple(book.account.changes.values())[:0]:\n",
        faults="narrow_day_budget,blind_account",
    ),
    of_equity(
        name="the day's loss values open positions at their entry price",
        old="            mark = quote.mark\n",
        new="            mark = trade.entry_price\n",
        faults="narrow_day_budget",
    ),
)
