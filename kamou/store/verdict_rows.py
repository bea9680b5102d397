"""Query: closed shadow trades of a journal with the model's verdict on each."""

from __future__ import annotations

import sqlite3
from decimal import Decimal

import attrs

from kamou.core.book.refiner_events import RefinerAnswer, RefinerCallsEnded
from kamou.core.record.refiner_value import JudgedTrade
from kamou.messages.codec import decode, kind_of


@attrs.frozen(kw_only=True)
class JudgedRecord:
    """The closed shadow trades on which a model gave a valid answer."""

    trades: tuple[JudgedTrade, ...]
    models: tuple[str, ...]  # that were asked, by name; empty: not known
    # Of all calls, also of those without a valid answer; None: of the calls about these trades.
    cost_usd: Decimal | None


def query_judged_trades(reader: sqlite3.Connection) -> JudgedRecord:
    """Return the judged shadow trades of a journal, in the order of their closing.

    The verdicts are those of ``RefinerCallsEnded``, so those of a refiner that only advises count,
    too. Of two calls about one candidate the later one counts.

    Raises:
        ValueError: this version cannot decode an event of the refiner.
    """
    rows = reader.execute(
        "SELECT body FROM event WHERE kind = ? ORDER BY seq", (kind_of(RefinerCallsEnded),)
    )
    answers: list[RefinerAnswer] = []
    for (body,) in rows:
        answers += decode(RefinerCallsEnded, body).answers
    valid = {each.signal_id: each for each in answers if each.answer is not None}
    found = reader.execute(
        "SELECT shadow_id, strategy, symbol, opened_at_ms, closed_at_ms, r, score"
        " FROM shadow_trade WHERE closed_at_ms IS NOT NULL ORDER BY closed_at_ms, shadow_id"
    ).fetchall()
    return JudgedRecord(
        trades=tuple(_judge(row, valid[row[0]]) for row in found if row[0] in valid),
        models=tuple(sorted({each.model_asked for each in answers})),
        cost_usd=sum((each.cost_usd for each in answers), Decimal(0)),
    )


def _judge(row: tuple[str, str, str, int, int, str, float], call: RefinerAnswer) -> JudgedTrade:
    _, strategy, symbol, opened_at_ms, closed_at_ms, r, score = row
    assert call.answer is not None, call
    return JudgedTrade(
        strategy=strategy,
        symbol=symbol,
        opened_at_ms=opened_at_ms,
        closed_at_ms=closed_at_ms,
        r=Decimal(r),
        verdict=call.answer.verdict,
        score=score,
        p_win_pct=call.answer.p_win_pct,
        cost_usd=call.cost_usd,
    )
