"""Reads of the veto actor: quotes, funding, fast moves, shadow records."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress

import attrs

from kamou.actors.funding_rates import FundingRates
from kamou.clock import Clock
from kamou.core.market.price_moves import (
    MOVE_MS,
    RecentMoves,
    find_largest_ranges,
    merge_largest,
)
from kamou.core.model import Candidate, Instrument, Quote
from kamou.core.ranking.ranking import BITCOIN
from kamou.core.record.record_findings import RecordFindings, RecordJudge, ShadowRecord
from kamou.errors import RateLimitedError, UnreachableError
from kamou.exchange.base import ExchangePort

RECORD_VETOES = frozenset({"hour", "losing_symbol", "win_rate"})


@attrs.define(kw_only=True, eq=False, slots=False)
class VetoInputs:
    """The reads of the vetoes that a run asks.

    Its state are caches, and the moves that it has seen between a bar's close and a quote; a
    restart forgets these.
    """

    _port: ExchangePort
    _clock: Clock
    _enabled: Collection[str]  # names of the vetoes
    _pause_ms: int
    _step_ms: int  # length of the venue's shortest bars
    funding: FundingRates = attrs.field(init=False)
    _moves: RecentMoves = attrs.field(init=False)
    _judge: RecordJudge = attrs.field(init=False, factory=RecordJudge)

    def __attrs_post_init__(self) -> None:
        self.funding = FundingRates(self._port.funding_rates, clock=self._clock)
        self._moves = RecentMoves(pause_ms=self._pause_ms)

    async def read_quotes(self, candidates: Sequence[Candidate]) -> dict[str, Quote]:
        """Return the sound quotes of the candidates; none if the venue does not answer."""
        quotes: dict[str, Quote] = {}
        with suppress(UnreachableError, RateLimitedError):  # no quotes: vetoed as stale
            response = await self._port.quotes(tuple(c.symbol for c in candidates))
            quotes = {symbol: quote for symbol, quote in response.items() if quote.sound}
        return quotes

    async def read_moves(
        self, candidates: Sequence[Candidate], quotes: Mapping[str, Quote]
    ) -> Mapping[str, float] | None:
        """Return each symbol's largest move within 60 s in the pause before now.

        They are the ranges of the venue's bars of a minute or less, and the moves from the close
        of a candidate's bar to its quote. Return None if the bars cannot be read.
        """
        if "velocity" not in self._enabled:
            return {}
        now_ms = self._clock.now_ms()
        for each in candidates:
            quote = quotes.get(each.symbol)
            if quote is not None and quote.at_ms - each.bar_closed_at_ms <= MOVE_MS:
                move = abs(float(quote.mid) / each.close - 1.0)
                self._moves.note(each.symbol, quote.at_ms, move)
        seen = self._moves.largest(now_ms)
        if MOVE_MS % self._step_ms:
            return seen  # the venue's bars are longer than a move
        since_ms = now_ms - self._pause_ms - MOVE_MS
        try:
            bars = await self._port.bars(MOVE_MS, since_ms, now_ms)
        except (UnreachableError, RateLimitedError):
            return None
        return merge_largest(seen, find_largest_ranges(bars))

    def judge_records(
        self, record: ShadowRecord, candidates: Sequence[Candidate], now_ms: int
    ) -> Mapping[str, RecordFindings]:
        """Return the findings of the candidates' strategies; none if no veto reads them.

        A record is judged again once a block of it is complete.
        """
        if RECORD_VETOES.isdisjoint(self._enabled):
            return {}
        strategies = {each.strategy for each in candidates}
        return {name: self._judge.judge(record, name, now_ms) for name in strategies}


def find_listed_bitcoin(
    universe: Sequence[Sequence[str]], instruments: Mapping[str, Instrument]
) -> str:
    """Return the first symbol of Bitcoin in the universe; empty if there is none."""
    named = (symbol for part in universe for symbol in part if symbol.startswith(BITCOIN))
    listed = ((symbol, instruments.get(symbol)) for symbol in named)
    found = (symbol for symbol, each in listed if each is not None and each.base in BITCOIN)
    return next(found, "")
