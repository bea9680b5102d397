"""``Computed``: the newest value of a computation, with the key of its inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Computed(Generic[T]):
    """A value that is computed again only if its key differs.

    The key has everything that the computation reads, such as the revision of the account, the
    instant and the contract specifications. So no other code has to invalidate the value.
    """

    def __init__(self) -> None:
        self._held: tuple[object, T] | None = None

    def get(self, key: object, compute: Callable[[], T]) -> T:
        """Return the value of ``key``; call ``compute`` if the last call had another key."""
        held = self._held
        if held is None or held[0] != key:
            held = self._held = (key, compute())
        return held[1]
