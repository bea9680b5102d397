"""Writes docs/fills.md from the docstrings of the embedded venue."""

from __future__ import annotations

import inspect
from pathlib import Path

from kamou.core.market.fill_prices import SettledFunding, SlippageModel, StopFillModel
from kamou.venue import matching
from kamou.venue.models import AccountFees, ConstantLatency, LiquidationModel, VolumeShareFills

PAGE = Path(__file__).parent.parent / "docs" / "fills.md"
MODELS: tuple[tuple[str, type], ...] = (
    ("Fees", AccountFees),
    ("Latency", ConstantLatency),
    ("Slippage", SlippageModel),
    ("Limits and depth", VolumeShareFills),
    ("Stops", StopFillModel),
    ("Funding", SettledFunding),
    ("Liquidation", LiquidationModel),
)
HEAD = """# How simulated orders fill

In the demo, in paper mode and in backtests, Kamou trades against its embedded venue. This page says
what that venue assumes, so that you can judge a result. The text is that of
`kamou/venue/matching.py`, `kamou/venue/models.py` and `kamou/core/market/fill_prices.py`; `make
fix` writes it.

## Orders
"""


def fills_page() -> str:
    """Return docs/fills.md as the docstrings have it."""
    contract = _markdown(matching).partition("\n\n")[2]  # without the line about the module
    parts = [f"\n### {title}\n\n{_markdown(model)}\n" for title, model in MODELS]
    return f"{HEAD}\n{contract}\n\n## Models\n" + "".join(parts)


def _markdown(documented: object) -> str:
    """Return a docstring as Markdown: lists at the margin after an empty line."""
    text = (inspect.getdoc(documented) or "").replace("``", "`")
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("**"):
            lines += [line, ""]
        else:
            lines.append(line.removeprefix("  "))
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(fills_page(), encoding="utf-8")
