"""Mode, currency and gate of a page come from the journal, once it has a run."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from kamou.core.book.events import RunStarted
from kamou.core.kinds import RunMode
from kamou.store import database
from kamou.store.journal import JournalWriter
from kamou.store.latest_run import ASSUMED_GATE, latest_run
from kamou.web.app import PublicSite
from kamou.web.site import Site
from tests.site_client import Client, inline


def started(mode: RunMode, gate: str, run_number: int = 1) -> RunStarted:
    return RunStarted(
        at_ms=1_767_312_000_000 + run_number,
        run_number=run_number,
        mode=mode,
        version="1",
        config_digest="d" * 64,
        config_json='{"currency":"EUR"}',
        change_reason="",
        gate=gate,
    )


def write(path: Path, *runs: RunStarted) -> None:
    with closing(database.open_writer(path)) as connection:
        JournalWriter(connection, run_number=1).append(runs)


async def test_pages_of_an_empty_journal_are_served_and_results_has_the_mode_given_to_the_site(
    empty_record: Path, client: Client
) -> None:
    given = Site(mode=RunMode.PAPER, currency="USDT", assumed_live=True)
    async with client(PublicSite(empty_record, given, runner=inline)) as http:
        for path in ("/", "/results", "/results.json", "/trades", "/how-it-works", "/pricing"):
            assert (await http.get(path)).status_code == 200
        page = (await http.get("/results")).text
    assert "Paper: real market data, simulated money; the gate is assumed live." in page


@pytest.mark.parametrize("gate", [ASSUMED_GATE, "arithmetic"])
async def test_the_first_run_changes_mode_gate_and_currency_of_results_without_a_site_restart(
    empty_record: Path, client: Client, gate: str
) -> None:
    public = PublicSite(empty_record, Site(mode=RunMode.DEMO, assumed_live=True), runner=inline)
    async with client(public) as http:
        assert "Demo: simulated market" in (await http.get("/results")).text
        write(empty_record, started(RunMode.PAPER, gate))
        page = (await http.get("/results")).text
        found = (await http.get("/results.json")).json()
    assert "Paper: real market data, simulated money" in page
    assert ("the gate is assumed live" in page) is (gate == ASSUMED_GATE)
    assert (found["mode"], found["currency"]) == ("paper", "EUR")


def test_the_latest_run_is_none_in_an_empty_journal_and_else_the_newest_one(
    empty_record: Path,
) -> None:
    with closing(database.open_reader(empty_record)) as reader:
        assert latest_run(reader) is None
        write(
            empty_record, started(RunMode.DEMO, "assumed"), started(RunMode.DEMO, "arithmetic", 2)
        )
        found = latest_run(reader)
        assert found is not None
        assert (found.run_number, found.gate) == (2, "arithmetic")


def test_a_run_without_a_recorded_gate_had_the_assumed_gate(empty_record: Path) -> None:
    with closing(database.open_writer(empty_record)) as connection:
        body = (
            b'{"at_ms":1,"cause_id":"","change_reason":"","config_digest":"d","config_json":"{}",'
            b'"run_number":1,"mode":"demo","version":"0"}'
        )
        connection.execute(
            "INSERT INTO event (seq, run_number, at_ms, kind, key, cause_id, schema, body)"
            " VALUES (1, 1, 1, 'run_started', NULL, '', 1, ?)",
            (body,),
        )
        found = latest_run(connection)
    assert found is not None
    assert (found.gate, found.currency) == (ASSUMED_GATE, "USDT")
