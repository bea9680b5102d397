"""``make_launcher``: start and end of the public site's process, with its pipes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence

import trio

from kamou.errors import SiteFloodError, SiteStartError
from kamou.site.port import TEXT_BYTES, Launch, SiteProcess
from kamou.site.process_protocol import (
    HEARTBEAT_BYTES,
    Heartbeat,
    SiteHandover,
    decode_heartbeat,
    encode_handover,
)

MODULE = "kamou.web.process"  # not imported, because the trading process imports no page
STOP_GRACE_S = 1.25  # for requests in flight (1 s in the server) before SIGKILL
KILL_GRACE_S = 1.0  # after SIGKILL; a process that hangs longer in the kernel is not reaped
ALLOWED_ENVIRONMENT = ("PATH", "LANG", "TZ", "PYTHONPATH")
ALLOWED_PREFIXES = ("LC_", "COVERAGE_")  # locale, and coverage in tests
OWN_ENVIRONMENT = {
    "MALLOC_ARENA_MAX": "2",  # without it, 40 threads reserved 1,445 MB of address space
    "OPENBLAS_NUM_THREADS": "1",  # each of its threads reserves address space
}


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that the child may see, which include no secret."""
    allowed = {
        name: value
        for name, value in environ.items()
        if name in ALLOWED_ENVIRONMENT or name.startswith(ALLOWED_PREFIXES)
    }
    return allowed | OWN_ENVIRONMENT


def child_command() -> list[str]:
    """Return the child's command; ``-P`` prevents imports from the working directory."""
    return [sys.executable, "-P", "-m", MODULE]


def make_launcher(handover: SiteHandover, command: Sequence[str] = ()) -> Launch:
    """Return a ``Launch`` that starts a real child process with this handover.

    ``command`` is another program for the child, for tests; empty: ``child_command``.
    """

    @contextlib.asynccontextmanager
    async def launch() -> AsyncIterator[SiteProcess]:
        try:
            process = await trio.lowlevel.open_process(
                list(command) or child_command(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(handover.socket,),
                env=child_environment(os.environ),
                # Its own group, so that Ctrl-C reaches only the parent. Not its own session: with
                # autogroup a session has its own share of the CPU, and nice has no effect.
                process_group=0,
            )
        except (OSError, RuntimeError) as error:  # RuntimeError: no thread can be started
            raise SiteStartError(f"the site's process cannot be started: {error}") from error
        started = _StartedProcess(process)
        try:
            await started.hand_over(handover)
            yield started
        finally:
            with trio.CancelScope(shield=True):
                await started.end()

    return launch


class _StartedProcess:
    """A real child process as ``SiteProcess``."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self._lifeline = process.stdin
        self._beats = process.stdout
        self._text = process.stderr
        self._frame = b""

    @property
    def pid(self) -> int:
        return self._process.pid

    async def hand_over(self, handover: SiteHandover) -> None:
        """Write the handover; if the child has already ended, ``wait`` reports the end."""
        with contextlib.suppress(trio.BrokenResourceError):
            await self._lifeline.send_all(encode_handover(handover))

    async def next_heartbeat(self) -> Heartbeat | None:
        while len(self._frame) < HEARTBEAT_BYTES:
            more = await self._beats.receive_some(HEARTBEAT_BYTES - len(self._frame))
            if not more:
                return None
            self._frame += more
        frame, self._frame = self._frame, b""
        beat = decode_heartbeat(frame)
        if beat is None:
            raise SiteFloodError(
                f"the site's process wrote something that is not a heartbeat: {frame[:16]!r}"
            )
        return beat

    async def next_text(self) -> bytes:
        return bytes(await self._text.receive_some(TEXT_BYTES))

    async def wait(self) -> int:
        return await self._process.wait()

    async def end(self) -> None:
        """Send SIGTERM, wait, send SIGKILL, reap and close, within both graces."""
        for stop_signal, grace_s in (
            (signal.SIGTERM, STOP_GRACE_S),
            (signal.SIGKILL, KILL_GRACE_S),
        ):
            if self._process.poll() is not None:
                break
            self._process.send_signal(stop_signal)
            with trio.move_on_after(grace_s):
                await self._process.wait()
        for stream in (self._lifeline, self._beats, self._text):
            await stream.aclose()
