"""What ccxt's exchange files use of ``asyncio``: ``gather``, on Trio."""

from __future__ import annotations

import sys
from collections.abc import Awaitable
from types import ModuleType

import attrs
import trio

BEFORE = "asyncio"  # the name in ccxt's modules


@attrs.frozen
class GatherFacade:
    """The stand-in for the name ``asyncio`` in one module of ccxt.

    Under Trio it has ``gather`` only. Outside of Trio it is the module itself, so that ccxt's own
    exchanges work in the same process.
    """

    _original: ModuleType

    def __getattr__(self, name: str) -> object:
        """Return a name of asyncio; under Trio fail, because it needs a loop."""
        assert not trio.lowlevel.in_trio_run(), f"ccxt uses asyncio.{name} under Trio"
        return getattr(self._original, name)

    async def gather(self, *awaitables: Awaitable[object]) -> list[object]:
        """Await all at the same time and return their results in order.

        The first error cancels the others and is raised as it is, without a group.
        """
        if not trio.lowlevel.in_trio_run():
            return list(await self._original.gather(*awaitables))
        return await gather(*awaitables)


async def gather(*awaitables: Awaitable[object]) -> list[object]:
    """Await all on Trio and return the results; raise the first error alone."""
    results: list[object] = [None] * len(awaitables)
    failed: list[Exception] = []
    async with trio.open_nursery() as nursery:

        async def run(index: int, awaitable: Awaitable[object]) -> None:
            try:
                results[index] = await awaitable
            except Exception as error:
                failed.append(error)
                nursery.cancel_scope.cancel()

        for index, awaitable in enumerate(awaitables):
            nursery.start_soon(run, index, awaitable)
    if failed:
        raise failed[0]
    return results


def rebind_asyncio(exchange_class: type) -> None:
    """Give the modules of a class and its bases the facade for ``asyncio``."""
    for each in exchange_class.__mro__:
        module = sys.modules[each.__module__]
        original = vars(module).get(BEFORE)
        if isinstance(original, ModuleType):
            setattr(module, BEFORE, GatherFacade(original))
