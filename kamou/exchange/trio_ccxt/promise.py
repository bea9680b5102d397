"""A value that comes later, in the place of ccxt's ``Future``."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

import attrs
import trio


@attrs.define(eq=False)
class Promise:
    """A value or an error that comes once, for any number of waiting Trio tasks.

    Canceling one waiting task leaves the promise and the other tasks as they are. Callbacks run at
    once, in the task that settles the promise; ccxt's own run in a later turn of its loop.
    """

    _settled: trio.Event = attrs.field(init=False, factory=trio.Event)
    _value: object = attrs.field(init=False, default=None)
    _error: BaseException | None = attrs.field(init=False, default=None)
    _callbacks: list[Callable[[Promise], object]] = attrs.field(init=False, factory=list)

    def done(self) -> bool:
        """Return True if the promise has its value or its error."""
        return self._settled.is_set()

    def resolve(self, value: object = None) -> None:
        """Give the value; a settled promise stays as it is."""
        if not self.done():
            self._value = value
            self._settle()

    def reject(self, error: BaseException) -> None:
        """Give the error that each waiting task raises; a settled promise stays as it is."""
        if not self.done():
            self._error = error
            self._settle()

    def error(self) -> BaseException | None:
        """Return the error, or None if the promise has a value or is not settled."""
        return self._error

    def result(self) -> object:
        """Return the value of a settled promise, or raise its error."""
        assert self.done()
        if self._error is not None:
            raise self._error
        return self._value

    def call_when_settled(self, callback: Callable[[Promise], object]) -> None:
        """Call a function with the promise once it is settled, or now if it is."""
        if self.done():
            callback(self)
        else:
            self._callbacks.append(callback)

    def forget_callback(self, callback: Callable[[Promise], object]) -> None:
        """Remove a callback; one that is not there is ignored."""
        if callback in self._callbacks:
            self._callbacks.remove(callback)

    def __await__(self) -> Generator[object, object, object]:
        """Wait for the value and return it, or raise the error."""
        return self._wait().__await__()

    async def _wait(self) -> object:
        await self._settled.wait()
        return self.result()

    def _settle(self) -> None:
        self._settled.set()
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(self)


def race(promises: Sequence[Promise]) -> Promise:
    """Return a promise that settles as the first of these does."""
    assert promises, "a race needs a promise"
    first = Promise()

    def settle(promise: Promise) -> None:
        for other in promises:
            other.forget_callback(settle)
        error = promise.error()
        if error is None:
            first.resolve(promise.result())
        else:
            first.reject(error)

    for promise in promises:
        if not first.done():
            promise.call_when_settled(settle)
    return first
