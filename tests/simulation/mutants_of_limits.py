"""Defects in the limits on everything together: each taken out of planner and governor at once."""

from __future__ import annotations

from mutants import Mutant

ROOM = "kamou/core/risk/exposure.py"
ROWS = "kamou/core/risk/rules.py"
EQUITY = "kamou/core/risk/equity.py"


def _without(what: str, row: str, room: str, notices: str, faults: str) -> Mutant:
    """The defect: no rule ``row``, and the planner sizes as if ``room`` were endless."""
    name, _, _ = room.partition(":")
    return Mutant(
        name=f"{what} is asked for nowhere",
        file=ROWS,
        old=f"    portfolio.{row},\n",
        new="",
        also=((ROOM, f"        {room},\n", f"        {name}: 100 * q,\n"),),
        notices=(notices,),
        faults=faults,
        seeds=6,
    )


LIMITS = (
    _without(
        "admission",
        "admission",
        '"day_budget": budget - stake.open_risk',
        "ADMISSION",
        "narrow_day_budget",
    ),
    _without(
        "open risk",
        "open_risk",
        '"open_risk": min(limits.open_risk_max, limits.daily_loss_max) * q - stake.open_risk',
        "OPEN_RISK",
        "narrow_open_risk",
    ),
    Mutant(
        name="the cluster is asked for nowhere",
        file=ROWS,
        old="    portfolio.cluster,\n",
        new="",
        also=(
            (
                ROOM,
                '        risks["cluster"] = limits.cluster_risk_max * q - stake.cluster[side]\n',
                "        pass\n",
            ),
        ),
        notices=("CLUSTER",),
        faults="narrow_cluster",
        seeds=6,
    ),
    _without(
        "the shock",
        "shock",
        '"shock": left / limits.shock_move - stake.net_notional * side.sign',
        "SHOCK",
        "narrow_shock",
    ),
    _without(
        "total notional",
        "notional_total",
        '"notional_total": limits.notional_total_max * q - stake.notional_total',
        "NOTIONAL",
        "narrow_notional",
    ),
    _without(
        "total margin",
        "margin_total",
        '"margin_total": limits.margin_total_max * q - margin',
        "MARGIN",
        "narrow_margin",
    ),
    Mutant(
        name="entries of an hour are not counted",
        file=ROWS,
        old="    conduct.entries_per_hour,\n",
        new="",
        notices=("ENTRIES_HOUR",),
        faults="narrow_counts",
        seeds=6,
    ),
    Mutant(
        name="re-entries of a day are not counted",
        file=ROWS,
        old="    conduct.reentries_per_day,\n",
        new="",
        notices=("ENTRIES_DAY",),
        faults="narrow_counts",
        seeds=6,
    ),
    Mutant(
        name="what was realised since the account was read is forgotten",
        file=EQUITY,
        old="    for change in book.balance_changes.values():\n",
        new="    for change in tuple(book.balance_changes.values())[:0]:\n",
        notices=("ADMISSION",),
        faults="narrow_day_budget,blind_account",
        seeds=20,
    ),
    Mutant(
        name="what is open is valued at its entry in the day's loss",
        file=EQUITY,
        old="            mark = quote.mark\n",
        new="            mark = trade.entry_price\n",
        notices=("ADMISSION",),
        faults="narrow_day_budget",
        seeds=20,
    ),
)
