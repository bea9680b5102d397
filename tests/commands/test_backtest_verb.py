"""`kamou backtest`: its files, its interruption, and verbs that open a kept journal."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kamou.core.kinds import RunMode
from kamou.core.record.backtest_document import BacktestReport
from kamou.web.app import PublicSite
from kamou.web.site import Site
from tests.runs.traded_days import trade_days
from tests.site_client import Client, inline
from tests.store.market_files import write_valid_files

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_valid_files(tmp_path / "good")


def test_a_backtest_writes_its_report_as_html_and_as_json(
    cli: Cli, data: Path, tmp_path: Path
) -> None:
    page, document = tmp_path / "report.html", tmp_path / "report.json"
    code, out, _ = cli("backtest", "--data", data, "--html", page, "--json", document)
    assert code == 0
    assert out.startswith("backtest of good: 3 symbols, 2025-01-01 00:00 to 2025-01-03 00:00 UTC")
    report = json.loads(document.read_text())
    assert report["cpu_s"] > 0
    assert report["peak_rss_mb"] > 0
    assert "Backtest of good" in page.read_text()


@pytest.fixture
def foreground() -> Iterator[None]:
    """Handle Ctrl-C as in the foreground, also where a shell started the tests with ``&``."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press_in_a_cycle(times: int) -> Callable[..., object]:
    """Return a ``show_progress`` in whose second cycle Ctrl-C is pressed."""

    @contextlib.contextmanager
    def progress(*, quiet: bool = False) -> Iterator[Callable[..., None]]:
        calls: list[int] = []

        def report(what: str, done: int, total: int) -> None:
            calls.append(done)
            if len(calls) == 2:
                for _ in range(times):
                    os.kill(os.getpid(), signal.SIGINT)

        yield report

    return progress


@pytest.mark.usefixtures("foreground")
def test_ctrl_c_reports_what_was_done_so_far_with_exit_code_130(
    cli: Cli, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr("kamou.commands.backtest.show_progress", press_in_a_cycle(1))
    document = tmp_path / "report.json"
    code, out, err = cli("backtest", "--data", data, "--json", document)
    assert code == 130
    assert "! interrupted: the report ends before 2025-01-03 00:00, the requested end" in out
    assert "figures" in out
    assert err.splitlines() == [
        "interrupted: the report follows; Ctrl-C again ends it without a report",
        "interrupted",
    ]
    report = json.loads(document.read_text())
    assert report["tested"]["interrupted"]
    assert 1 <= report["cycles"] < 48
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.usefixtures("foreground")
def test_ctrl_c_with_json_on_standard_output_prints_one_document(
    cli: Cli, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kamou.commands.backtest.show_progress", press_in_a_cycle(1))
    code, out, _ = cli("backtest", "--data", data, "--json", "-")
    assert code == 130
    assert json.loads(out)["tested"]["interrupted"]


def test_a_backtest_in_the_background_goes_on_ignoring_ctrl_c(
    cli: Cli, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    monkeypatch.setattr("kamou.commands.backtest.show_progress", press_in_a_cycle(1))
    try:
        code, out, _ = cli("backtest", "--data", data)
    finally:
        signal.signal(signal.SIGINT, before)
    assert code == 0
    assert "interrupted" not in out


@pytest.mark.usefixtures("foreground")
def test_a_second_ctrl_c_ends_a_backtest_without_a_report(
    cli: Cli, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kamou.commands.backtest.show_progress", press_in_a_cycle(2))
    assert cli("backtest", "--data", data) == (130, "", "interrupted\n")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, BacktestReport]:
    journal = tmp_path_factory.mktemp("traded") / "journal.sqlite3"
    return journal, trade_days(journal).report


def test_a_backtest_keeps_its_journal_which_report_opens(
    cli: Cli, data: Path, tmp_path: Path
) -> None:
    journal = tmp_path / "kept.sqlite3"
    assert cli("backtest", "--data", data, "--journal", journal)[0] == 0
    code, out, _ = cli("report", "--database", journal)
    assert code == 0
    assert out.startswith("backtest: 2025-01-01 00:00:00 to 2025-01-03 00:00:01 UTC")
    assert "Backtest: recorded market data" in out


def test_report_and_why_give_the_figures_and_reasons_of_a_kept_backtest(
    cli: Cli, kept: tuple[Path, BacktestReport]
) -> None:
    journal, report = kept
    code, out, _ = cli("report", "--database", journal, "--json")
    assert code == 0
    document = json.loads(out)
    assert document["mode"] == "backtest"
    assert document["performance"]["trades"]["n"] == report["trades"]
    code, out, _ = cli("why", "AAAUSDT", "--cycles", 60, "--database", journal, "--json")
    assert code == 0
    answers = {reason["answer"] for reason in json.loads(out)["reasons"]}
    assert {"GRANTED", "SYMBOL_HELD"} <= answers


@pytest.mark.parametrize("page", ["/", "/results", "/trades", "/days", "/how-it-works"])
async def test_the_site_shows_a_kept_backtest_and_names_its_mode(
    kept: tuple[Path, BacktestReport], client: Client, page: str
) -> None:
    # `kamou site` takes mode, currency and gate from the newest run in the journal.
    app = PublicSite(kept[0], Site(mode=RunMode.DEMO), runner=inline)
    async with client(app) as browser:
        answer = await browser.get(page)
    assert answer.status_code == 200
    assert "Backtest: recorded market data" in answer.text


@pytest.mark.parametrize("verb", [("report",), ("why", "BTCUSDT"), ("site",)])
@pytest.mark.parametrize("order", [1, -1])
def test_a_database_and_a_data_directory_exclude_each_other(
    cli: Cli, tmp_path: Path, verb: tuple[str, ...], order: int
) -> None:
    options = [("--database", tmp_path / "a"), ("--data-dir", tmp_path)][::order]
    code, _, err = cli(*verb, *(word for option in options for word in option))
    assert code == 2
    assert "--database and --data-dir exclude each other" in err


def test_the_error_for_a_database_that_does_not_exist_is_one_line(cli: Cli, tmp_path: Path) -> None:
    code, out, err = cli("report", "--database", tmp_path / "none.sqlite3")
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert "none.sqlite3" in err
