"""The base class of actors, and the error of a handler that missed its deadline.

An actor is one task with one inbox and one state; functions of ``core`` decide for it. A child spec
starts ``run``, which recovers, reports started and then handles one message at a time. An exception
ends the task; the supervisor starts the next incarnation on the same inbox.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Generic, TypeVar

import attrs
import trio

from kamou.clock import Clock, read_stopwatch_ns
from kamou.errors import TimedOutError
from kamou.runtime.calls import Call, answer_call
from kamou.runtime.mailboxes import Mailbox

M = TypeVar("M")


class HandlerHungError(TimedOutError):
    """A handler did not end before its deadline."""

    def __init__(self, actor: str, message: object, deadline_s: float) -> None:
        subject = message.message if isinstance(message, Call) else message
        what = "a tick or its last step" if subject is None else type(subject).__name__
        super().__init__(
            f"{actor} did not finish {what} within {deadline_s:g} s; the supervisor restarts"
            " the actor, unless the actor was stopping"
        )


@attrs.define(kw_only=True, eq=False, slots=False)
class Actor(ABC, Generic[M]):
    """Base of the actors that handle the messages of an inbox.

    A handler, tick or last step that takes longer than ``handler_deadline_s`` crashes the actor.
    """

    inbox: Mailbox[M]
    clock: Clock
    handler_deadline_s: float
    name: str

    async def recover(self) -> None:
        """Rebuild the state from the store or the venue, before the first message."""
        await trio.lowlevel.checkpoint()

    @abstractmethod
    async def handle(self, message: M) -> None:
        """Act on one message. An exception crashes the actor."""

    async def answer(self, message: object) -> object:
        """Return the reply to one call; a returned ``KamouError`` is raised at the caller.

        An exception fails the call (``CallUnavailableError``) and crashes the actor.
        """
        raise AssertionError(f"{self.name} answers no calls, but got the call {message!r}")

    async def finish(self) -> None:
        """Do the last step of an orderly stop: work that cannot wait for the next start."""
        await trio.lowlevel.checkpoint()

    def next_due_ms(self) -> int | None:
        """Return the time by ``clock`` at which ``tick`` is due; None: never.

        ``run`` calls it before each wait.
        """
        return None

    def next_due_s(self) -> float:
        """Return the Trio time in s at which ``tick`` runs even if ``clock`` was set back."""
        return math.inf

    async def tick(self) -> None:
        """Do the work that is due now, and move ``next_due_ms`` on."""
        raise AssertionError(f"{self.name} has a due time but no tick()")

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Recover, report started, and serve until asked to stop or cancelled.

        Priority messages come first, then a due tick, then ordinary messages.

        Raises:
            HandlerHungError: a handler, tick or last step exceeded ``handler_deadline_s``.
            Exception: any error of the recovery, a handler, a tick or the last step; the supervisor
                restarts the actor.
        """
        inbox = self.inbox
        message: M | None = None
        # One scope for all handlers, with a new deadline for each: a scope per message would cost
        # more than many handlers do.
        with trio.CancelScope() as scope:
            try:
                await self.recover()
                inbox.mark_up()
                task_status.started()
                while True:
                    message = await inbox.get_until(
                        self.next_due_ms(), self.clock, self.next_due_s()
                    )
                    began_ns = read_stopwatch_ns()
                    scope.deadline = trio.current_time() + self.handler_deadline_s
                    if message is None and inbox.stopping:
                        await self.finish()
                        return
                    await self._serve(message)
                    scope.deadline = math.inf
                    inbox.count_handled(read_stopwatch_ns() - began_ns)
            finally:
                inbox.mark_down()
        raise HandlerHungError(self.name, message, self.handler_deadline_s)

    async def _serve(self, message: M | None) -> None:
        if message is None:
            await self.tick()
        elif isinstance(message, Call):
            answer_call(message, await self.answer(message.message))
        else:
            await self.handle(message)
