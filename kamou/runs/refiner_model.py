"""The refiner's model of a run: open if the settings ask for one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from kamou.actors.model_calls import request_terms, token_prices
from kamou.core.refiner_codes import RefinerMode
from kamou.core.refining.calls import AskModel
from kamou.settings.refiner import RefinerSettings, read_refiner_key


@asynccontextmanager
async def open_model(
    refiner: RefinerSettings, environ: Mapping[str, str]
) -> AsyncIterator[AskModel | None]:
    """Open the client of the model and yield its call; in the mode off yield None.

    Raises:
        ConfigurationError: the key in the environment is not valid.
    """
    if refiner.mode is RefinerMode.OFF:
        yield None
        return
    from kamou.llm.client import open_client  # httpx takes 0.1 s to import

    async with open_client(
        url=refiner.url,
        key=read_refiner_key(refiner, environ),
        terms=request_terms(refiner),
        prices=token_prices(refiner),
    ) as client:
        yield client.ask
