"""The read side of the port: every read is one query through one method."""

from __future__ import annotations

import inspect
from typing import Any, TypeVar

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from kamou.errors import UnreachableError
from kamou.exchange.reads import QueriedReads, VenueQuery, VenueReads
from tests.exchange.port_fakes import SYMBOL
from tests.exchange.test_embedded_port import venue_on
from tests.venue.memory_market import MemoryMarket, with_bars

T = TypeVar("T")

READS = sorted(name for name in vars(VenueReads) if not name.startswith("_"))
ARGUMENTS: dict[str, st.SearchStrategy[Any]] = {
    "symbols": st.tuples(st.text(max_size=3), st.text(max_size=3)),
    "client_order_id": st.text(max_size=5),
}


class Echo:
    """A venue that answers with the name and the arguments of the call."""

    def __getattr__(self, name: str) -> Any:
        async def answer(*arguments: object) -> object:
            return name, arguments

        return answer


class Passing(QueriedReads):
    """A wrapper that asks another port and keeps the queries."""

    def __init__(self, port: Any) -> None:
        self.port = port
        self.queries: list[VenueQuery[Any]] = []

    async def read(self, query: VenueQuery[T]) -> T:
        self.queries.append(query)
        return await query.ask(self.port)


class Replay(QueriedReads):
    """Recorded answers instead of a venue."""

    def __init__(self, answers: dict[VenueQuery[Any], Any]) -> None:
        self.answers = answers

    async def read(self, query: VenueQuery[T]) -> T:
        await trio.lowlevel.checkpoint()
        if query not in self.answers:
            raise UnreachableError(f"{query.name} was not recorded")
        answer: T = self.answers[query]
        return answer


class Recording(QueriedReads):
    def __init__(self, port: Any) -> None:
        self.port = port
        self.answers: dict[VenueQuery[Any], Any] = {}

    async def read(self, query: VenueQuery[T]) -> T:
        answer = self.answers[query] = await query.ask(self.port)
        return answer


@pytest.mark.parametrize("name", READS)
@given(data=st.data())
def test_a_read_of_a_wrapper_is_one_query_of_its_name_and_asks_the_same_of_the_port(
    name: str, data: st.DataObject
) -> None:
    names = list(inspect.signature(getattr(VenueReads, name)).parameters)[1:]
    drawn = tuple(data.draw(ARGUMENTS.get(each, st.integers())) for each in names)
    wrapper = Passing(Echo())
    read = getattr(wrapper, name)
    with pytest.raises(StopIteration) as stopped:
        read(*drawn).send(None)
    assert stopped.value.value == (name, drawn)
    (query,) = wrapper.queries
    assert (query.name, query.arguments) == (name, drawn)
    assert query == VenueQuery(name, drawn, lambda venue: venue.account())


def test_a_wrapper_has_the_reads_of_a_venue_and_no_others() -> None:
    assert sorted(set(vars(QueriedReads)) & set(READS)) == READS
    public = {name for name in vars(QueriedReads) if not name.startswith("_")}
    assert public == {*READS, "read"}


async def test_a_replay_of_recorded_reads_answers_as_the_venue_did() -> None:
    venue = venue_on(MemoryMarket({"AAA": with_bars()}))
    await venue.enter()
    recording = Recording(venue.port)

    async def read_all(port: QueriedReads) -> list[object]:
        return [
            await port.account(),
            await port.positions(),
            await port.open_orders(),
            await port.fills(0),
            await port.quotes((SYMBOL,)),
            await port.server_time_ms(),
        ]

    answers = await read_all(recording)
    replay = Replay(recording.answers)
    assert await read_all(replay) == answers
    with pytest.raises(UnreachableError, match="fills was not recorded"):
        await replay.fills(1)
