"""Writes docs/codes.md from the tables of codes: ``make fix`` runs it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from kamou.core.codes import ACTIONS, CAUSES, MEANINGS, REJECTIONS, Abstain, Deny, Veto
from kamou.core.refiner_codes import REFINER_MEANINGS
from kamou.core.words import DRIFTS

PAGE = Path(__file__).parent.parent / "docs" / "codes.md"
HEAD = """# Codes

Written by `make fix` from the tables in `kamou/core/codes.py` and `kamou/core/words.py`; do not
edit it here.

Five parties can say no, and each has its own verb. `kamou why SYMBOL` shows all of them, each with
its code and its figures.

| who | verb |
|---|---|
| strategy (T1) | abstains |
| veto (T2) | vetoes |
| refiner (T3) | refuses |
| order manager, risk governor, exchange port | deny |
| venue | rejects |

[Settings](settings.md) has the limits that the last column names, [operating](operating.md) the
trading states, [reliability](reliability.md#invariants) the invariants that simulations check, and
[commands](commands.md#exit-codes) the exit codes.
"""
EXIT_REASONS = {
    "stop_loss": "the stop-loss order filled",
    "take_profit": "the take-profit order filled",
    "time_limit": "the trade reached its longest holding time, and Kamou closed it",
    "exit": "Kamou closed the position for another reason: a flatten, or no confirmed stop",
    "liquidation": "the venue liquidated the position",
    "adl": "the venue closed the position by auto-deleveraging",
    "delisting": "the venue settled the position, because the symbol was delisted",
    "external": "an order that Kamou did not place closed the position",
}


def codes_page() -> str:
    """Return the whole page."""
    parts = [
        ("Abstentions", "Why a strategy gives a symbol no score.", MEANINGS, _names(Abstain)),
        ("Vetoes", "Why a veto (T2) stopped a candidate.", MEANINGS, _names(Veto)),
        (
            "Denials",
            "Why the order manager or the risk governor denied a plan. Every rule is asked, so a "
            "plan can have several.",
            MEANINGS,
            _names(Deny),
        ),
        (
            "Denials of the exchange port, and rejections of the venue",
            "Why an order with a permit did not reach the market.",
            REJECTIONS,
            list(REJECTIONS),
        ),
        (
            "Reasons of a trading state",
            "Why the trading state changed.",
            {reason.value: text for reason, text in CAUSES.items()},
            [reason.value for reason in CAUSES],
        ),
        (
            "Drift",
            "How book and venue differ, when the difference outlived its waiting time of 20 s. "
            "Entries are blocked until it is explained.",
            DRIFTS,
            list(DRIFTS),
        ),
    ]
    return HEAD + "".join(_section(*part) for part in parts) + _refusals() + _exit_reasons()


def _names(codes: Iterable[Abstain | Veto | Deny]) -> list[str]:
    return [code.name for code in codes if code]


def _section(title: str, about: str, meanings: Mapping[str, str], codes: Iterable[str]) -> str:
    lines = [f"| `{code}` | {meanings[code]} | {ACTIONS[code]} |" for code in codes]
    head = "| code | meaning | what to do |\n|---|---|---|\n"
    return f"\n## {title}\n\n{about}\n\n{head}" + "\n".join(lines) + "\n"


def _refusals() -> str:
    lines = [f"| `{code}` | {meaning} |" for code, meaning in REFINER_MEANINGS.items()]
    about = (
        "Why the refiner (T3) refused a candidate: the model's reason, or why there is no valid "
        "answer. [The refiner](refiner.md) says what to set."
    )
    head = "| code | meaning |\n|---|---|\n"
    return f"\n## Refusals of the refiner\n\n{about}\n\n{head}" + "\n".join(lines) + "\n"


def _exit_reasons() -> str:
    lines = [f"| `{reason}` | {meaning} |" for reason, meaning in EXIT_REASONS.items()]
    head = "| reason | meaning |\n|---|---|\n"
    return f"\n## Exit reasons\n\nWhy a trade ended.\n\n{head}" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(codes_page(), encoding="utf-8")
