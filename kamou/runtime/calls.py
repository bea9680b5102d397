"""``Call``, whose sender waits for an answer, ``CallReply`` and ``answer_call``."""

from __future__ import annotations

import attrs
import trio

from kamou.errors import KamouError


class CallReply:
    """The place for the answer to one call. Only the first answer is delivered."""

    __slots__ = ("_done", "_error", "_scope", "_settled", "_value")

    def __init__(self, scope: trio.CancelScope) -> None:
        self._scope = scope
        self._done = trio.Event()
        self._settled = False
        self._value: object = None
        self._error: Exception | None = None

    @property
    def settled(self) -> bool:
        """Return True once the call was answered or failed, or the caller gave up."""
        return self._settled

    @property
    def ended(self) -> bool:
        """Return True if there is a result: the call was answered or failed."""
        return self._error is not None or self._done.is_set()

    async def wait(self) -> None:
        """Wait for the answer; ``fail`` cancels the caller's scope instead."""
        await self._done.wait()

    def result(self) -> object:
        """Return the answer of an ended call, or raise the error of a failed one."""
        assert self.ended, "the call has no result yet"
        if self._error is not None:
            raise self._error
        return self._value

    def give_up(self) -> None:
        """Settle the call without an answer; a later answer is not delivered."""
        self._settled = True

    def send(self, value: object) -> bool:
        """Answer with ``value``; return False if the call is already settled."""
        if self._settled:
            return False
        self._settled = True
        self._value = value
        self._done.set()
        return True

    def fail(self, error: Exception) -> bool:
        """Raise ``error`` at the caller, which may still be waiting to put the call.

        Return False if the call is already settled.
        """
        if self._settled:
            return False
        self._settled = True
        self._error = error
        self._scope.cancel()
        return True


@attrs.frozen(eq=False)
class Call:
    """A message whose sender waits for the answer."""

    message: object
    reply: CallReply


def answer_call(call_: Call, result: object) -> bool:
    """Answer a call with a value, or raise a ``KamouError`` at the caller.

    Returns:
        True if the caller gets it; False if the call is already settled.
    """
    if isinstance(result, KamouError):
        return call_.reply.fail(result)
    return call_.reply.send(result)
