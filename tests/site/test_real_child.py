"""The real process of the public site, on a socket of the test."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
import trio
import trio.testing

from kamou.clock import SystemClock
from kamou.data_directory.folder import DataDirectory, RunRecord
from kamou.errors import ListenError, SiteStartError
from kamou.http.server import Listener, bind
from kamou.settings.config import Settings, WebSettings
from kamou.site.child import bind_patiently, make_handover, public_site
from kamou.site.process_protocol import PRICING_BYTES_MAX, SiteHandover
from kamou.site.process_start import make_launcher
from kamou.site.process_supervision import SiteKeeper, SiteLimits
from kamou.site.text import SiteText
from kamou.store import database
from tests.site.sites import Recorder, make_health

WITHIN_S = 120.0  # much longer than any wait in these tests


@pytest.fixture
def data_directory(tmp_path: Path) -> DataDirectory:
    data_directory = DataDirectory(tmp_path)
    database.migrate_journal(data_directory.database)
    return data_directory


@pytest.fixture
def bound() -> Iterator[socket.socket]:
    with closing(bind(listener())) as made:
        yield made


def listener(port: int = 0) -> Listener:
    return Listener(app=None, host="127.0.0.1", port=port, setting="web.port", option="--port")


def make_test_handover(
    data_directory: DataDirectory, bound: socket.socket, **changes: Any
) -> SiteHandover:
    made = make_handover(
        Settings(data_dir=data_directory.path), data_directory, bound, "assumed", ""
    )
    return attrs.evolve(made, **({"nice": 0} | changes))


async def get(port: int, path: str = "/results") -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, timeout=WITHIN_S) as http:
        return await http.get(f"http://127.0.0.1:{port}{path}")


def pid_of(process: Any) -> int:
    return int(process.pid)


async def test_a_killed_process_and_the_next_one_serve_on_the_given_socket(
    data_directory: DataDirectory, bound: socket.socket
) -> None:
    port = bound.getsockname()[1]
    launch = make_launcher(make_test_handover(data_directory, bound))
    with trio.fail_after(WITHIN_S):
        async with launch() as first:
            assert (await get(port)).status_code == 200
            os.kill(pid_of(first), signal.SIGKILL)
            assert await first.wait() == -signal.SIGKILL
        async with trio.open_nursery() as nursery:
            answers: list[int] = []

            async def early() -> None:
                answers.append((await get(port)).status_code)

            nursery.start_soon(early)  # waits in the backlog until a process accepts
            await trio.sleep(0.1)
            async with launch() as second:
                while not answers:
                    assert await second.next_heartbeat() is not None
                nursery.cancel_scope.cancel()
        assert answers == [200]


async def test_the_site_process_sets_its_limits_and_has_no_secret_in_its_environment(
    data_directory: DataDirectory, bound: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAMOU__EXCHANGE__API_KEY", "a-secret")
    monkeypatch.setenv("MY_TOKEN", "a-secret")
    launch = make_launcher(make_test_handover(data_directory, bound, nice=7, descriptors_max=333))
    with trio.fail_after(WITHIN_S):
        async with launch() as process:
            beat = await process.next_heartbeat()
            assert beat is not None
            about = Path(f"/proc/{pid_of(process)}")
            assert b"a-secret" not in (about / "environ").read_bytes()
            assert b"a-secret" not in (about / "cmdline").read_bytes()
            assert os.getpriority(os.PRIO_PROCESS, pid_of(process)) == 7 + os.getpriority(
                os.PRIO_PROCESS, 0
            )
            limits = (about / "limits").read_text()
            assert "Max open files            333                  333" in limits
            assert "Max address space         2147483648           2147483648" in limits
            assert "Umask:\t0077" in (about / "status").read_text()
            assert os.getpgid(pid_of(process)) == pid_of(process)
            assert os.getsid(pid_of(process)) == os.getsid(0), "nice has no effect in a session"
            assert 10 * 2**20 < beat.memory_bytes < 512 * 2**20


async def test_a_package_kamou_in_the_working_directory_is_not_imported(
    data_directory: DataDirectory,
    bound: socket.socket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "kamou").mkdir()
    (tmp_path / "kamou" / "__init__.py").write_text("raise SystemExit('the wrong one')\n")
    monkeypatch.chdir(tmp_path)
    with trio.fail_after(WITHIN_S):
        async with make_launcher(make_test_handover(data_directory, bound))() as process:
            assert await process.next_heartbeat() is not None


async def test_the_site_process_counts_requests_and_exits_with_0_without_text_at_sigterm(
    data_directory: DataDirectory, bound: socket.socket
) -> None:
    port = bound.getsockname()[1]
    with trio.fail_after(WITHIN_S):
        async with make_launcher(make_test_handover(data_directory, bound))() as process:
            for _ in range(5):
                await get(port)
            while (beat := await process.next_heartbeat()) is not None and beat.requests < 5:
                pass
            assert beat is not None
            assert beat.renders >= 1
            os.kill(pid_of(process), signal.SIGTERM)
            assert await process.wait() == 0
            assert await process.next_text() == b""


async def test_a_page_that_fails_is_reported_in_one_line_and_the_process_goes_on(
    data_directory: DataDirectory, bound: socket.socket
) -> None:
    port = bound.getsockname()[1]
    with trio.fail_after(WITHIN_S):
        missing = make_test_handover(
            data_directory, bound, database=str(data_directory.path / "absent.sqlite3")
        )
        async with make_launcher(missing)() as process:
            assert (await get(port)).status_code == 500
            text = await process.next_text()
            assert text.startswith(b"page /results failed: StoreError")
            assert (await get(port, "/pricing")).status_code == 500
            with trio.move_on_after(1.0):
                text += await process.next_text()
            assert text.count(b"page /") == 1, "failing pages are reported once per minute"
            assert await process.next_heartbeat() is not None


async def test_an_invalid_handover_ends_the_process_with_the_reason(
    data_directory: DataDirectory, bound: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kamou.site.process_start.encode_handover", lambda handover: b"nonsense\n")
    with trio.fail_after(WITHIN_S):
        async with make_launcher(make_test_handover(data_directory, bound))() as process:
            assert await process.wait() == 2
            assert b"no valid handover" in await process.next_text()


# --- under supervision -------------------------------------------------------------------


async def test_a_process_that_does_not_read_its_handover_is_ended_and_reported(
    data_directory: DataDirectory, bound: socket.socket
) -> None:
    long = make_test_handover(
        data_directory, bound, pricing_markdown="x" * PRICING_BYTES_MAX
    )  # a pipe holds 64 KB
    sleeping = [sys.executable, "-c", "import time; time.sleep(600)"]  # ended by its keeper
    recorder = Recorder()
    keeper = SiteKeeper(
        launch=make_launcher(long, sleeping),
        health=make_health(recorder),
        text=SiteText(announce=recorder.lines.append, seconds=trio.current_time),
        limits=SiteLimits(memory_max_bytes=1 << 30, silence_max_s=10, start_max_s=1),
    )
    with trio.fail_after(20), pytest.raises(SiteStartError, match="did not read its handover"):
        await keeper.run()
    assert "did not read its handover" in recorder.lines[0]


async def test_a_start_without_a_free_thread_is_an_error_with_the_cause(
    data_directory: DataDirectory, bound: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_thread(*command: Any, **how: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(trio.lowlevel, "open_process", no_thread)
    with pytest.raises(SiteStartError, match="can't start new thread"):
        async with make_launcher(make_test_handover(data_directory, bound))():
            raise AssertionError


async def test_a_process_that_is_killed_or_stopped_is_replaced_and_reported(
    data_directory: DataDirectory,
) -> None:
    lines: list[str] = []
    web = WebSettings(port=0, site_nice=0, site_silence_max_s=5)
    with trio.fail_after(WITHIN_S):
        async with public_site(
            Settings(data_dir=data_directory.path, web=web),
            data_directory,
            gate="assumed",
            announce=lines.append,
            record=lambda event: False,
            clock=SystemClock(),
        ) as site:
            for signal_number in (signal.SIGKILL, signal.SIGSTOP):
                assert (await get(site.port)).status_code == 200
                before = site.health.starts
                [pid] = find_site_processes()
                os.kill(pid, signal_number)
                while site.health.starts == before or site.health.degraded():  # noqa: ASYNC110 - another process
                    await trio.sleep(0.05)
            assert (await get(site.port)).status_code == 200
            assert site.health.as_dict()["restarts"] == 2
        assert find_site_processes() == []
    assert sum(1 for line in lines if "public site is down" in line) == 1


async def test_a_process_that_grows_beyond_its_memory_is_replaced(
    data_directory: DataDirectory,
) -> None:
    web = WebSettings(port=0, site_nice=0, site_memory_max_mb=1)  # far below its real memory
    with trio.fail_after(WITHIN_S):
        async with public_site(
            Settings(data_dir=data_directory.path, web=web),
            data_directory,
            gate="assumed",
            announce=lambda line: None,
            record=lambda event: False,
            clock=SystemClock(),
        ) as site:
            while site.health.starts < 2:  # noqa: ASYNC110 - another process
                await trio.sleep(0.05)
            assert "MiB of memory" in site.health.last_trouble
    assert find_site_processes() == []


@pytest.mark.parametrize(
    ("earlier_port", "patience_s"), [(None, 1.0), ("another", 1.0), ("the same", 10.0)]
)
async def test_a_start_waits_longer_for_a_taken_port_that_the_run_before_had(
    data_directory: DataDirectory,
    bound: socket.socket,
    autojump_clock: trio.testing.MockClock,
    earlier_port: str | None,
    patience_s: float,
) -> None:
    port: int = bound.getsockname()[1]
    if earlier_port is not None:
        RunRecord(
            pid=1,
            mode="demo",
            host="127.0.0.1",
            port=port if earlier_port == "the same" else port + 1,
            operator_host="127.0.0.1",
            operator_port=None,
            started_at_ms=0,
        ).write(data_directory)
    settings = Settings(data_dir=data_directory.path, web=WebSettings(host="127.0.0.1", port=port))
    with pytest.raises(ListenError, match="--port"):
        async with public_site(
            settings,
            data_directory,
            gate="assumed",
            announce=lambda line: None,
            record=lambda event: False,
            clock=SystemClock(),
        ):
            raise AssertionError
    assert patience_s <= trio.current_time() < patience_s + 0.1


async def test_binding_waits_for_a_port_until_it_becomes_free(
    autojump_clock: trio.testing.MockClock,
) -> None:
    taken = bind(listener())
    port: int = taken.getsockname()[1]
    async with trio.open_nursery() as nursery:

        async def end_soon() -> None:
            await trio.sleep(0.8)
            taken.close()

        nursery.start_soon(end_soon)
        (await bind_patiently(listener(port), 1.0)).close()


def find_site_processes() -> list[int]:
    """Return the pids of this process's children that serve pages."""
    found = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    found += [
        child
        for task in Path("/proc/self/task").iterdir()
        if task.name != str(os.getpid())
        for child in (task / "children").read_text().split()
    ]
    return [int(child) for child in found if b"kamou.web" in _command(int(child))]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
