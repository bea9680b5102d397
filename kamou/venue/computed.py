"""``Computed``: a computation's newest value, with the key of its inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Computed(Generic[T]):
    """A value that is computed again when its key differs, and at no other time.

    The key names everything that the computation reads: the revision of the account, the instant,
    the contract specifications. So nobody has to say that a value is out of date.
    """

    def __init__(self) -> None:
        self._held: tuple[object, T] | None = None

    def get(self, key: object, compute: Callable[[], T]) -> T:
        """Return the value of ``key``; call ``compute`` if the last call had another key."""
        held = self._held
        if held is None or held[0] != key:
            held = self._held = (key, compute())
        return held[1]
