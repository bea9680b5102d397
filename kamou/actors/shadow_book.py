"""The shadow book, which opens shadow trades and closes them from bars."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import attrs

from kamou.actors.base import Actor
from kamou.actors.followers import BookFollower
from kamou.actors.funding_rates import FundingRates
from kamou.actors.journal import Journal
from kamou.actors.shadow_bars import ShadowBars
from kamou.clock import floor_ms, next_ms
from kamou.core.book.events import Event
from kamou.core.book.position_book import PositionBook
from kamou.core.book.shadow_events import (
    ShadowTrade,
    ShadowTradesClosed,
    ShadowTradesOpened,
    SkippedShadowTrade,
)
from kamou.core.codes import Veto
from kamou.core.model import Denial, Figure, Quote
from kamou.core.risk.denials import deny_unusable_quote
from kamou.core.risk.planning import EntryMarket
from kamou.core.shadow.closing import ShadowWatch, close_shadow_trade, sum_funding
from kamou.core.shadow.opening import (
    JudgedCandidate,
    ShadowTerms,
    deny_market,
    deny_unfilled,
    open_shadow_trade,
)
from kamou.core.shadow.resting import RestingShadow, fill_resting
from kamou.errors import (
    CallTimeoutError,
    CallUnavailableError,
    RateLimitedError,
    StoreError,
    UnreachableError,
)
from kamou.exchange.base import ExchangePort
from kamou.messages.signals import CandidatesJudged


@attrs.define(kw_only=True, eq=False, slots=False)
class ShadowBook(Actor[CandidatesJudged]):
    """The actor that opens shadow trades and closes them after each native bar.

    Without an open shadow trade it wakes for candidates only, and reads no bars. Its open trades
    are those of the position book. What their bars have shown is read again after a restart, from
    the opening of the oldest on, so a restart changes no result. A crash between a verdict and the
    commit of its shadow trade loses that trade; a crash before the commit of a result does not lose
    the result.

    A trade whose entry rests waits in this actor, and opens or is skipped shortly before the
    entry's deadline.
    """

    name: str = attrs.field(init=False, default="shadow_book")
    _port: ExchangePort
    _journal: Journal
    _terms: ShadowTerms
    _native_ms: int  # period of the venue's shortest bars
    _delay_ms: int  # from the close of a bar to its read
    _on_closed: Callable[[], object] = lambda: None  # after each pass with results
    _follower: BookFollower = attrs.field(init=False)
    _funding: FundingRates = attrs.field(init=False)
    _bars: ShadowBars = attrs.field(init=False)
    _watches: dict[str, ShadowWatch] = attrs.field(init=False, factory=dict)  # by shadow id
    _resting: list[RestingShadow] = attrs.field(init=False, factory=list)
    _passed_ms: int = attrs.field(init=False, default=0)  # close of the newest bar at the last pass

    def __attrs_post_init__(self) -> None:
        self._follower = BookFollower(self._journal)
        self._funding = FundingRates(self._port.funding_rates, clock=self.clock)
        self._bars = ShadowBars(port=self._port, period_ms=self._native_ms)

    async def recover(self) -> None:
        await self._follower.recover()
        self._resting.clear()

    def next_due_ms(self) -> int | None:
        due_ms = [each.look_ms for each in self._resting]
        if self._follower.book.shadows.open:
            due_ms.append(self._bar_due_ms())
        return min(due_ms, default=None)

    def _bar_due_ms(self) -> int:
        """Return the time at which the next native bar is read."""
        return next_ms(self._passed_ms, self._native_ms) + self._delay_ms

    # --- openings ------------------------------------------------------------------

    async def handle(self, message: CandidatesJudged) -> None:
        assert isinstance(message, CandidatesJudged), message
        symbols = tuple(dict.fromkeys(each.candidate.symbol for each in message.candidates))
        quotes: Mapping[str, Quote] = {}
        with suppress(UnreachableError, RateLimitedError):  # no quotes: no shadow trades
            quotes = await self._port.quotes(symbols)
        await self._funding.refresh()
        book = self._follower.catch_up()
        event = self._open(message, quotes, book)
        if not book.shadows.open:  # bars that have closed by now are older than the trades
            self._passed_ms = floor_ms(self.clock.now_ms(), self._native_ms)
        if event.trades or event.skipped:
            await self._commit(event)
            self._follower.catch_up()

    def _open(
        self, message: CandidatesJudged, quotes: Mapping[str, Quote], book: PositionBook
    ) -> ShadowTradesOpened:
        """Return the trades of the candidates, and those that cannot open with the reason."""
        now_ms = self.clock.now_ms()
        waiting = {each.trade.shadow_id: each.trade for each in self._resting}
        held = set(book.shadows.held) | {(t.strategy, t.symbol) for t in waiting.values()}
        trades: list[ShadowTrade] = []
        skipped: list[SkippedShadowTrade] = []
        for judged in message.candidates:
            candidate = judged.candidate
            if candidate.signal_id in waiting or book.shadows.knows(candidate.signal_id):
                continue  # its bar was ranked again after a restart
            pair = (candidate.strategy, candidate.symbol)
            made = _deny_second(pair) if pair in held else self._plan(judged, quotes, book, now_ms)
            if isinstance(made, Denial):
                skipped.append(
                    SkippedShadowTrade(
                        shadow_id=candidate.signal_id,
                        strategy=candidate.strategy,
                        symbol=candidate.symbol,
                        denial=made,
                    )
                )
                continue
            held.add(pair)
            if candidate.rest_ms > 0:
                self._resting.append(RestingShadow(trade=made, rest_ms=candidate.rest_ms))
            else:
                trades.append(made)
        return ShadowTradesOpened(
            at_ms=now_ms,
            cause_id=message.cause_id,
            trades=tuple(trades),
            skipped=tuple(skipped),
        )

    def _plan(
        self,
        judged: JudgedCandidate,
        quotes: Mapping[str, Quote],
        book: PositionBook,
        now_ms: int,
    ) -> ShadowTrade | Denial:
        symbol = judged.candidate.symbol
        instrument, quote = book.instruments.get(symbol), quotes.get(symbol)
        if denied := deny_market(instrument, quote, self._terms, now_ms):
            return denied
        assert instrument is not None
        assert quote is not None
        gap = book.recent_activity.gap_buffer(self._terms.parameters.limits, now_ms)
        market = EntryMarket(
            instrument=instrument,
            quote=quote,
            gap=gap.value,
            funding_rate=self._funding.rates.get(symbol),
        )
        return open_shadow_trade(judged, market, self._terms, now_ms)

    # --- resting entries -----------------------------------------------------------

    async def _end_resting(self, due: Sequence[RestingShadow]) -> None:
        """Open the trades whose resting entries have filled, and skip the others.

        If nothing can be read, they are skipped as well: nobody knows whether they filled.
        """
        symbols = tuple(dict.fromkeys(each.trade.symbol for each in due))
        quotes: Mapping[str, Quote] = {}
        with suppress(UnreachableError, RateLimitedError):
            await self._read_bars(due)
            quotes = await self._port.quotes(symbols)
        trades, skipped = [], []
        for each in due:
            made = self._end(each, quotes.get(each.trade.symbol))
            if isinstance(made, ShadowTrade):
                trades.append(made)
                continue
            trade = each.trade
            skipped.append(
                SkippedShadowTrade(
                    shadow_id=trade.shadow_id,
                    strategy=trade.strategy,
                    symbol=trade.symbol,
                    denial=made,
                )
            )
        self._resting = [each for each in self._resting if each not in due]
        if not self._follower.book.shadows.open:
            # Bars since the earliest opening are still to be applied.
            first_ms = min((each.opened_at_ms for each in trades), default=self.clock.now_ms())
            self._passed_ms = floor_ms(first_ms, self._native_ms)
        await self._commit(
            ShadowTradesOpened(
                at_ms=self.clock.now_ms(), trades=tuple(trades), skipped=tuple(skipped)
            )
        )
        self._follower.catch_up()

    async def _read_bars(self, due: Sequence[RestingShadow]) -> None:
        """Read the bars that closed since the entries were placed, if there is one."""
        placed_ms = min(each.trade.opened_at_ms for each in due)
        if next_ms(placed_ms, self._native_ms) <= self.clock.now_ms():
            running = [each.seen_ms for each in self._watches.values() if each.exit is None]
            await self._bars.read(min([placed_ms, *running]), self.clock.now_ms())

    def _end(self, resting: RestingShadow, quote: Quote | None) -> ShadowTrade | Denial:
        """Return the trade that a resting entry has opened, or why it opens none."""
        if quote is None or not quote.sound:
            return deny_unusable_quote(quote)
        trade = resting.trade
        bars = self._bars.since(trade.symbol, trade.opened_at_ms)
        return fill_resting(resting, bars, quote) or deny_unfilled(trade, quote.mark)

    # --- results -------------------------------------------------------------------

    async def tick(self) -> None:
        now_ms, before = self.clock.now_ms(), self._follower.catch_up()
        bar_is_due = bool(before.shadows.open) and self._bar_due_ms() <= now_ms
        if due := [each for each in self._resting if each.look_ms <= now_ms]:
            await self._end_resting(due)
        if bar_is_due:
            await self._pass_bars()

    async def _pass_bars(self) -> None:
        """Apply the bars that closed since the last pass, and commit the results."""
        book = self._follower.catch_up()
        self._passed_ms = floor_ms(self.clock.now_ms(), self._native_ms)
        self._follow(book)
        try:
            await self._apply_bars(book)
            ended = [each for each in self._watches.values() if each.exit is not None]
            rates = await self._bars.read_rates(ended)
        except (UnreachableError, RateLimitedError):
            return  # the next pass reads these bars or rates again
        if ended:
            await self._commit(self._close(ended, rates, book))
            self._follow(self._follower.catch_up())
            self._on_closed()

    async def _commit(self, event: Event) -> None:
        """Commit an event; if that fails, the book shows whether it was committed.

        Results that were not committed are tried again at the next bar. Openings are not, because
        their prices are gone.
        """
        with suppress(StoreError, CallTimeoutError, CallUnavailableError):
            await self._journal.commit(event)

    def _follow(self, book: PositionBook) -> None:
        """Watch exactly the book's open shadow trades."""
        self._watches = {
            shadow_id: self._watches.get(shadow_id) or ShadowWatch(trade=trade)
            for shadow_id, trade in book.shadows.open.items()
        }

    async def _apply_bars(self, book: PositionBook) -> None:
        """Read the bars since the last pass, and apply them to the open trades."""
        running = [each for each in self._watches.values() if each.exit is None]
        if not running:
            return
        await self._bars.read(min(each.seen_ms for each in running), self.clock.now_ms())
        for watch in running:
            tick = book.instruments[watch.trade.symbol].tick
            for bar in self._bars.since(watch.trade.symbol, watch.seen_ms):
                watch.apply(bar, self._terms.models, tick)
                if watch.exit is not None:
                    break

    def _close(
        self,
        ended: Sequence[ShadowWatch],
        rates: Mapping[str, Mapping[int, float]],
        book: PositionBook,
    ) -> ShadowTradesClosed:
        closed = []
        for watch in ended:
            trade, exit_ = watch.trade, watch.exit
            assert exit_ is not None
            instrument = book.instruments[trade.symbol]
            known = rates.get(trade.symbol, {})
            funding = sum_funding(watch, known, instrument, self._terms.models)
            closed.append(close_shadow_trade(trade, exit_, funding))
        closed.sort(key=lambda each: (each.closed_at_ms, each.shadow_id))
        return ShadowTradesClosed(at_ms=self.clock.now_ms(), trades=tuple(closed))


def _deny_second(pair: tuple[str, str]) -> Denial:
    """Return the denial of a second shadow trade of a (strategy, symbol) pair."""
    return Denial(code=Veto.SHADOW_OPEN, figures=(Figure(name="strategy", value=pair[0]),))
