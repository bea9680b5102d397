"""Sides of a mailbox for other actors: ``Outbox`` to put, ``Callee`` to call."""

from __future__ import annotations

from typing import Protocol, TypeVar

T_contra = TypeVar("T_contra", contravariant=True)


class Outbox(Protocol[T_contra]):
    """The put side of a mailbox, for a producer of some of its messages."""

    def put_nowait(self, message: T_contra, /) -> bool:
        """Put a message without waiting; return True if the mailbox took it."""
        ...

    def put_priority(self, message: T_contra, /) -> bool:
        """Put a message into the priority lane; return False if the lane is full."""
        ...


class Callee(Protocol):
    """The side of a mailbox whose actor answers calls."""

    async def call(self, message: object, *, timeout_s: float) -> object: ...
