"""Escaped text from outside adds neither control characters nor lines to an output."""

from __future__ import annotations

import json
import re
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich import live

from kamou import cli as command_line
from kamou.commands import printing
from kamou.core.book.events import Event
from kamou.data_directory.folder import DataDirectory, RunRecord
from kamou.data_directory.latch import HaltLatch
from kamou.data_directory.lock import DataDirectoryLock
from kamou.errors import InvalidDataError, KamouError
from kamou.store import database
from kamou.store.journal import JournalWriter
from tests.store import story

Cli = Callable[..., tuple[int, str, str]]

# A color, a title, a cleared screen, a cursor that moves up, a line break and a line like Kamou's,
# a carriage return, C1 controls, a right-to-left override, and rich's markup.
EVIL = (
    "A\x1b[31m\x1b]0;owned\x07\x1b[2J\x1b[1A\nresults: http://evil.example/\r\x9b31m\x85"
    "\u2028\u202e[bold red]B"
)
FORGED = "results: http://evil.example/"


def assert_harmless(*texts: str) -> None:
    """Check for control characters other than line ends, and for forged lines."""
    for text in texts:
        odd = {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp")} - {"\n"}
        assert not odd, f"{odd} in {text!r}"
        assert not any(line.lstrip(" │|").startswith(FORGED) for line in text.split("\n"))


@pytest.fixture
def poisoned(tmp_path: Path) -> DataDirectory:
    """Make a data directory with malicious symbols, strategies and reasons."""
    from kamou.messages.codec import decode, encode

    def evil(event: Event) -> Event:
        text = encode(event).decode()
        for name in ("BTCUSDT", "ETHUSDT", "mean_reversion", "OPERATOR_HALT"):
            text = text.replace(f'"{name}"', json.dumps(EVIL + name))
        return decode(type(event), text.encode())

    directory = DataDirectory(tmp_path / "kamou-data")
    directory.create()
    writer = database.open_writer(directory.database, durable=False)
    JournalWriter(writer, run_number=1).append([evil(event) for event in story.opening_events()])
    writer.close()
    return directory


@pytest.mark.parametrize(
    "verb",
    [
        ("status",),
        ("status", "--json"),
        ("report",),
        ("report", "--json"),
        ("why", EVIL + "ETHUSDT"),
        ("why", EVIL),
        ("why", EVIL, "--json"),
    ],
)
def test_names_and_reasons_in_the_database_are_escaped(
    cli: Cli, poisoned: DataDirectory, verb: tuple[str, ...]
) -> None:
    code, out, err = cli(*verb)
    assert code in (0, 3)
    assert_harmless(out, err)


def test_symbols_of_open_positions_are_escaped(cli: Cli, poisoned: DataDirectory) -> None:
    assert "\\x1b[31m" in cli("status")[1]


WAYS = [
    ("check-config", "--config", EVIL),
    ("show-config", "--config", EVIL),
    ("init", f"{EVIL}/kamou.toml"),
    ("run", "--data-dir", f"file/{EVIL}"),
    ("run", "--replay", EVIL),
    ("run", EVIL),
    ("run", f"--{EVIL}"),
    ("run", "--port", EVIL),
    ("run", "--config", EVIL),
    (EVIL,),
    ("halt", "--data-dir", EVIL, "--reason", EVIL),
    ("resume", "--data-dir", EVIL),
    ("flatten", "--data-dir", EVIL, "--reason", EVIL),
    ("status", "--data-dir", EVIL),
    ("report", "--data-dir", EVIL),
    ("db", "migrate", "--data-dir", EVIL),
    ("db", "backup", EVIL, "--data-dir", EVIL),
    ("data", "list", "--data-dir", EVIL),
    ("data", "import", EVIL),
    ("data", "import", ".", "--name", EVIL),
    ("backtest", "--data", EVIL),
    ("backtest", "--data", ".", "--strategies", EVIL),
    ("backtest", "--data", ".", "--timerange", EVIL),
    ("simulate", "--seed", EVIL),
    ("simulate", "--seed", "1", "--faults", EVIL),
]


@pytest.mark.parametrize("arguments", WAYS, ids=lambda way: " ".join(way).replace(EVIL, "EVIL"))
def test_arguments_of_the_command_line_are_escaped_in_errors(
    cli: Cli, arguments: tuple[str, ...]
) -> None:
    Path("file").touch()
    _, out, err = cli(*arguments)
    assert_harmless(out, err)


def test_errors_of_a_malicious_configuration_are_escaped_with_one_line_each(
    cli: Cli,
) -> None:
    Path("kamou.toml").write_text(f"{json.dumps(EVIL)} = 1\nmode = {json.dumps(EVIL)}\n")
    code, out, err = cli("check-config")
    assert code == 4
    assert err.count("\n") == 2
    assert_harmless(out, err)


def test_files_and_symbols_of_an_import_are_escaped(cli: Cli) -> None:
    directory = Path("bars")
    directory.mkdir()
    bad = "ts,symbol,open,high,low,close,volume\n" + "".join(
        f'{1_735_689_600_000 + hour * 3_600_000},"{EVIL}",1,2,3,1,1\n' for hour in range(3)
    )
    (directory / f"{EVIL.replace('/', '')}.csv").write_text(bad, newline="")
    (directory / "notes\x1b[31m\n.csv").write_text("what,else\n1,2\n")
    code, out, err = cli("data", "import", directory)
    assert code
    assert_harmless(out, err)


def test_gaps_and_names_of_stored_datasets_are_escaped(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kamou.core.market.bar_checks import Gap
    from kamou.store import market_data
    from kamou.store.market_data import DatasetSummary

    gap = Gap(symbol=EVIL, after_ms=0, before_ms=120_000, bars=1)
    odd = DatasetSummary(**{**_summary(), "name": EVIL, "gaps": (gap,)})
    monkeypatch.setattr(market_data, "list_datasets", lambda _: [odd])
    code, out, err = cli("data", "list")
    assert code == 0
    assert "\\x1b[31m" in out
    assert_harmless(out, err)


def _summary() -> dict[str, Any]:
    import attrs

    from kamou.store.market_data import DatasetSummary

    blank: dict[str, Any] = {field.name: 0 for field in attrs.fields(DatasetSummary)}
    return blank | {"period_ms": 60_000, "gaps": ()}


# --- a run with malicious responses ----------------------------------------------------------


@pytest.fixture
def lying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DataDirectory]:
    """Yield the data directory of a run with malicious text in every response."""
    from kamou.commands.operator import OperatorClient

    directory = DataDirectory(tmp_path / "kamou-data")
    tree = {"id": EVIL, "state": EVIL, "incarnation": 1, "restarts": 0, "last_error": EVIL}
    box = {"name": EVIL, "depth": 0, "peak": 0, "dropped": 0, "expired": EVIL}
    answer = {"state": EVIL, EVIL: EVIL, "supervision": {"id": "run", "children": [tree]}}
    tree["mailboxes"] = [box]
    monkeypatch.setattr(OperatorClient, "_send", lambda *_: answer)
    monkeypatch.setattr(
        OperatorClient,
        "find",
        lambda _: OperatorClient(
            record=RunRecord(
                pid=1,
                mode=EVIL,
                host=EVIL,
                port=1,
                operator_host=EVIL,
                operator_port=1,
                started_at_ms=0,
            )
        ),
    )
    with DataDirectoryLock(directory.path):
        yield directory


@pytest.mark.parametrize("verb", ["status", "halt", "resume", "flatten"])
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_responses_of_a_run_are_escaped(
    cli: Cli, lying: DataDirectory, verb: str, form: tuple[str, ...]
) -> None:
    code, out, err = cli(verb, *form)
    assert code == 0
    assert_harmless(out, err)


def test_errors_of_a_run_are_escaped(
    cli: Cli, lying: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kamou.commands.operator import OperatorClient

    def refuse(*_: object) -> None:
        raise KamouError(f"/api/v1/halt answered 503: {EVIL}")

    monkeypatch.setattr(OperatorClient, "_send", refuse)
    for verb in ("status", "halt", "resume", "flatten"):
        _, out, err = cli(verb)
        assert_harmless(out, err)
    assert HaltLatch(lying.latch).is_set()


def test_announcements_and_progress_of_run_are_escaped(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, compose: Callable[..., None]
) -> None:
    def run(*_: object, progress: Any, announce: Any, **__: object) -> int:
        announce(f"page {EVIL} failed: {ValueError(EVIL)!r}")
        progress(EVIL, 1, 2)
        return 0

    compose("service", run)
    code, out, err = cli("run")
    assert code == 0
    assert "failed" in err
    assert_harmless(out, err)


def test_an_error_with_two_problems_has_a_heading_and_a_line_for_each(
    cli: Cli, compose: Callable[..., None]
) -> None:
    def run(*_: object, **__: object) -> int:
        raise InvalidDataError("two rows are invalid:", f"a: {EVIL}", "b")

    compose("service", run)
    code, out, err = cli("run")
    assert code == 1
    assert err.splitlines()[0] == "error: two rows are invalid:"
    assert len(err.splitlines()) == 3
    assert_harmless(out, err)


def test_the_traceback_of_a_defect_is_complete_and_escaped(
    capsys: pytest.CaptureFixture[str],
) -> None:
    try:
        raise ExceptionGroup(EVIL, [ValueError(EVIL), KeyError(EVIL)])
    except ExceptionGroup as error:
        command_line.print_defect(type(error), error, error.__traceback__)
    err = capsys.readouterr().err
    assert "ValueError" in err
    assert "test_terminal.py" in err
    assert all(line.startswith("| ") for line in err.splitlines())
    assert not any(line.startswith(FORGED) for line in err.splitlines())
    assert "\x1b" not in err


def test_the_command_line_installs_its_printer_of_defects(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    cli("data", "list")
    assert sys.excepthook is command_line.print_defect


def test_a_progress_bar_shows_a_task_escaped_and_without_markup(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with printing.show_progress() as report:
        report(EVIL, 1, 2)
    err = capsys.readouterr().err
    assert "\x1b[31m" not in err
    assert "\x1b]0" not in err
    assert "\nresults" not in err


def test_a_progress_bar_shows_what_is_done_with_its_rate_and_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    seconds = iter(range(10**9))
    monkeypatch.setattr("rich.console.monotonic", lambda: float(next(seconds)))
    with printing.show_progress() as report:
        for done in range(1, 30):
            report("days", done, 2_000)
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().err)
    assert "29 of 2,000" in shown
    assert re.search(r"\d\.\d/s", shown)
    assert re.search(r"\d+:\d\d:\d\d", shown)


def test_a_progress_bar_is_drawn_only_during_its_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with printing.show_progress() as report:
        assert count_drawing_threads() == 0, "without a task there is no bar"
        report("days", 1, 2)
        assert count_drawing_threads() == 1
        report("days", 2, 2)
        assert count_drawing_threads() == 0
        report("reading", 0, 1)
        assert count_drawing_threads() == 1
    assert count_drawing_threads() == 0


def count_drawing_threads() -> int:
    """Return the number of threads that draw, after those that are ending have ended."""
    threads = [t for t in threading.enumerate() if isinstance(t, live._RefreshThread)]
    for thread in threads:
        if thread.done.is_set():
            thread.join(60.0)
    return sum(thread.is_alive() for thread in threads)
