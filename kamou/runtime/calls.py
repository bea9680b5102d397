"""Calls: messages whose sender waits. Where the answer goes, and how it is given."""

from __future__ import annotations

from typing import Any

import attrs
import trio

from kamou.errors import KamouError


class CallReply:
    """Where the answer to one call goes. Answered once: later answers are not delivered."""

    __slots__ = ("_done", "_error", "_scope", "_settled", "_value")

    def __init__(self, scope: trio.CancelScope) -> None:
        self._scope = scope
        self._done = trio.Event()
        self._settled = False
        self._value: Any = None
        self._error: Exception | None = None

    @property
    def settled(self) -> bool:
        """Answered, failed, or given up by the caller."""
        return self._settled

    def send(self, value: object) -> bool:
        """Answer with ``value``. False when nobody waits any longer."""
        if self._settled:
            return False
        self._settled = True
        self._value = value
        self._done.set()
        return True

    def fail(self, error: Exception) -> bool:
        """Raise ``error`` at the caller, who may still be waiting for room in the mailbox."""
        if self._settled:
            return False
        self._settled = True
        self._error = error
        self._scope.cancel()
        return True


@attrs.frozen(eq=False)
class Call:
    """A message whose sender waits for the answer."""

    message: Any
    reply: CallReply


def answer_call(call_: Call, result: object) -> bool:
    """Answer a call with a value, or with a ``KamouError`` to be raised at the caller.

    False when the caller has given up.
    """
    if isinstance(result, KamouError):
        return call_.reply.fail(result)
    return call_.reply.send(result)
