"""Entries of the order manager: from refined signals to plans, reviews and orders.

Each plan is sized on quotes that were read for it: of its symbol and of every open position.
Sizing and the governor's review value the positions at the same marks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal

import attrs

from kamou.actors.decision_recorder import DecisionRecorder
from kamou.actors.funding_rates import FundingRates
from kamou.actors.order_executor import OrderExecutor
from kamou.actors.protection import Protector
from kamou.clock import Clock
from kamou.core.codes import Deny
from kamou.core.day import utc_day
from kamou.core.model import Candidate, Denial, Figure, OrderRole, Quote
from kamou.core.record.gate import Gate
from kamou.core.risk.denials import (
    deny_candidate,
    deny_unusable_quote,
    deny_without_grant,
    make_denial,
)
from kamou.core.risk.limits import TradingParameters
from kamou.core.risk.planning import (
    deny_without_headroom,
    plan_entry,
    size_fraction,
)
from kamou.core.risk.valuation import Valuation, value_book
from kamou.core.risk.verdict import Approved, Denied
from kamou.errors import RateLimitedError, UnreachableError
from kamou.messages.orders import ReviewEntry
from kamou.messages.signals import RefinedSignal, SignalsRefined

LOOK_MAX_MS = 8_000  # limit of one message's signals, and of one tick's due actions
FIRST_ATTEMPT = 1


@attrs.frozen(kw_only=True)
class ReadQuotes:
    """Quotes that were asked for at one instant."""

    at_ms: int
    by_symbol: Mapping[str, Quote]


NOT_READ = ReadQuotes(at_ms=0, by_symbol={})


@attrs.define(kw_only=True, eq=False)
class Entries:
    """The part of the order manager that plans entries and sends the permitted ones.

    ``settle`` does what may follow an order, such as closing flat trades and releasing permits.
    It is called after each entry that the governor permitted.
    """

    _executor: OrderExecutor
    _protector: Protector
    _gate: Gate
    _parameters: TradingParameters
    _clock: Clock
    _settle: Callable[[], Awaitable[None]]
    _funding: FundingRates = attrs.field(init=False)
    _read: ReadQuotes = attrs.field(init=False, default=NOT_READ)  # the newest of this pass
    _valued: tuple[int, Valuation] | None = attrs.field(init=False, default=None)  # with the seq
    # The newest of ``_value_held``, with the seq of its book.
    _held: tuple[int, ReadQuotes, Valuation] | None = attrs.field(init=False, default=None)
    # Signals that wait until the UTC day has opened.
    waiting: SignalsRefined | None = attrs.field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self._funding = FundingRates(self._executor.port.funding_rates, clock=self._clock)

    async def take(self, message: SignalsRefined) -> None:
        """Plan and enter the signals, or keep them until the UTC day has opened.

        Signals of the bar that closes at 00:00 UTC come before the day's opening equity is
        confirmed. They wait for that until they expire or newer signals replace them. Signals that
        are not reached within ``LOOK_MAX_MS``, or before they expire, are dropped.
        """
        self.waiting = None
        if self._executor.book.day.utc_day != utc_day(self._clock.now_ms()):
            self.waiting = message
            return
        await self._enter_all(message)

    async def retry(self) -> None:
        """Enter the signals that wait, if the UTC day has opened; deny expired ones."""
        message = self.waiting
        if message is None:
            return
        if self._clock.now_ms() >= message.expires_at_ms:
            self.waiting = None
            recorder = DecisionRecorder(message.cause_id)
            figures = (Figure(name="day", value="not open before the signal expired"),)
            expired = Denial(code=Deny.NOT_RECONCILED, figures=figures)
            for signal in message.signals:
                self._deny(signal.candidate, expired, recorder)
            self._executor.journal.cast(*recorder.take_denials())
            return
        await self.take(message)

    async def _enter_all(self, message: SignalsRefined) -> None:
        recorder = DecisionRecorder(message.cause_id)
        try:
            await self._enter_in_turn(message, recorder)
        finally:
            decided = recorder.take(self._clock.now_ms())
            self._executor.journal.cast(*recorder.take_denials(), *decided)

    async def _enter_in_turn(self, message: SignalsRefined, recorder: DecisionRecorder) -> None:
        until_ms = self._clock.now_ms() + LOOK_MAX_MS
        await self._funding.refresh()
        self._read = NOT_READ
        await self._quotes(())
        for signal in message.signals:
            if self._clock.now_ms() >= min(message.expires_at_ms, until_ms):
                return
            await self._enter(signal, self._value_held(), recorder)

    async def _enter(
        self, signal: RefinedSignal, valued: Valuation, recorder: DecisionRecorder
    ) -> None:
        candidate = signal.candidate
        executor = self._executor
        if self._gate.find_grant(candidate.strategy, executor.book) is None:
            self._deny(candidate, deny_without_grant(candidate.strategy, "none"), recorder)
            return
        if not executor.port.capabilities.attached_stop and (symbols := self._unprotected()):
            # If a stop needs a call of its own, open positions get theirs before a new entry.
            figures = (Figure(name="unprotected", value=symbols),)
            self._deny(candidate, Denial(code=Deny.STOP_MISSING, figures=figures), recorder)
            return
        if candidate.symbol not in executor.book.instruments:
            self._deny(candidate, make_denial(Deny.DATA_INVALID, what="instrument"), recorder)
            return
        full = deny_without_headroom(
            candidate,
            valued,
            fraction=self._fraction(signal),
            limits=self._parameters.limits,
        )
        if full is not None:
            self._deny(candidate, full, recorder)
            return
        review = await self._plan(signal, recorder)
        if review is None:
            return
        answer = await executor.review(review)
        if isinstance(answer, Denied):
            return  # the governor did not answer, and the executor has journalled a denial
        recorder.add_review(answer.read)
        if isinstance(answer.verdict, Approved):
            if denials := recorder.take_denials():
                # The commit of the intents writes them first; if it fails, they still wait.
                executor.journal.cast(*denials)
            inputs = recorder.take(self._clock.now_ms())
            await executor.enter(review.plan, answer.verdict, inputs)
            await self._secure(candidate.symbol)
            await self._settle()

    def _fraction(self, signal: RefinedSignal) -> Decimal:
        return size_fraction(
            self._executor.book,
            self._gate.find_grant(signal.candidate.strategy, self._executor.book),
            signal.size_multiplier,
            self._parameters.limits,
        )

    async def _plan(self, signal: RefinedSignal, recorder: DecisionRecorder) -> ReviewEntry | None:
        """Return the plan on new quotes, with the inputs of its review.

        The decision on a sound quote is added to ``recorder``. If the quote is missing or unsound,
        or the plan is denied, the denial is added to ``recorder`` and None is returned.
        """
        candidate, executor = signal.candidate, self._executor
        quotes = await self._quotes((candidate.symbol,))
        quote = quotes.get(candidate.symbol)
        if quote is None or not quote.sound:
            self._deny(candidate, deny_unusable_quote(quote), recorder)
            return None
        valued, rate = self._value(quotes), self._funding.rates.get(candidate.symbol)
        grant = self._gate.find_grant(candidate.strategy, executor.book)
        recorder.add(candidate, valued, funding_rate=rate, grant=grant)
        plan = plan_entry(
            candidate,
            valued,
            fraction=self._fraction(signal),
            attempt=FIRST_ATTEMPT,
            parameters=self._parameters,
            funding_rate=rate,
        )
        if isinstance(plan, Denial):
            self._deny(candidate, plan, recorder)
            return None
        return ReviewEntry(
            cause_id=candidate.signal_id,
            plan=plan,
            quote=quote,
            marks=tuple(quotes[s] for s in sorted(executor.book.trades.open) if s in quotes),
            funding_rate=rate,
        )

    # --- inputs of a plan --------------------------------------------------------

    async def _quotes(self, symbols: tuple[str, ...]) -> dict[str, Quote]:
        """Return quotes of ``symbols`` and of all open positions; none if the read fails."""
        needed = dict.fromkeys((*symbols, *sorted(self._executor.book.trades.open)))
        now_ms = self._clock.now_ms()
        known = self._read.by_symbol if self._read.at_ms == now_ms else {}
        if missing := tuple(symbol for symbol in needed if symbol not in known):
            try:
                known = {**known, **await self._executor.port.quotes(missing)}
            except (UnreachableError, RateLimitedError):
                return {}  # then sizing uses entry prices, and the governor denies without marks
            self._read = ReadQuotes(at_ms=now_ms, by_symbol=known)
        return {symbol: known[symbol] for symbol in needed if symbol in known}

    def _value_held(self) -> Valuation:
        """Return the valuation at the newest quotes that this pass has read.

        No others are read for a signal without headroom. Most signals of a full portfolio are
        denied on the valuation of the one before.
        """
        book, read = self._executor.book, self._read
        if self._held is not None:
            seq, before_read, before = self._held
            if read is before_read and seq == book.seq and before.at_ms == self._clock.now_ms():
                return before
        known = read.by_symbol
        valued = self._value({s: known[s] for s in book.trades.open if s in known})
        self._held = (book.seq, read, valued)
        return valued

    def _value(self, quotes: Mapping[str, Quote]) -> Valuation:
        book, now_ms = self._executor.book, self._clock.now_ms()
        if self._valued is not None:
            seq, before = self._valued
            same = seq == book.seq and before.at_ms == now_ms
            if same and all(quotes.get(s) is before.quotes.get(s) for s in book.trades.open):
                return attrs.evolve(before, quotes=quotes)
        valued = value_book(book, quotes, parameters=self._parameters, now_ms=now_ms)
        self._valued = (book.seq, valued)
        return valued

    # --- protection of an entry --------------------------------------------------

    def _unprotected(self) -> str:
        """Return the symbols of positions that are, or may be, unprotected, as ``A,B``.

        An entry that has not ended, or whose fills are not all reported, may have opened one.
        """
        book = self._executor.book
        symbols = {t.symbol for t in book.trades.open.values() if t.unprotected_since_ms}
        symbols |= {
            o.intent.symbol for o in book.orders.unsettled.values() if o.role is OrderRole.ENTRY
        }
        return ",".join(sorted(symbols))

    async def _secure(self, symbol: str) -> None:
        """Place the stop of an entry at once if the venue cannot attach it to the entry.

        Before that, query an ended entry whose fills are not all reported.
        """
        executor = self._executor
        if executor.port.capabilities.attached_stop:
            return
        for order in executor.book.orders.of_symbol(symbol):
            # An ended order in the book has fills that the venue has not reported yet.
            if order.role is OrderRole.ENTRY and order.status.terminal:
                await executor.resolve(order)
        trade = executor.book.trades.open.get(symbol)
        if trade is not None and trade.unprotected_since_ms:
            await self._protector.protect(symbol)

    def _deny(self, candidate: Candidate, denial: Denial, recorder: DecisionRecorder) -> None:
        at_ms = self._clock.now_ms()
        recorder.deny(deny_candidate(candidate, FIRST_ATTEMPT, denial, at_ms))
