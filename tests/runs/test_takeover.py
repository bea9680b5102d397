"""A local user tries to take over a run that died: he holds its lock and listens on its port.

As an older version left the folder: open to others, the lock readable by everybody. The stranger
is a process of another user, so these tests need root.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import attrs
import pytest
from small_demo import NOW_MS, SetClock, venue
from test_processes import CONFIGURATION

from kamou.cli import main
from kamou.core.day import MINUTE_MS
from kamou.data_directory.folder import DataDirectory, RunRecord
from kamou.data_directory.lock import lock_holder
from kamou.runs import flatten
from kamou.venue.store import VenueStore

STRANGER = 12_345  # a user id that owns nothing here

# Holds the lock, listens on a free port, tells it, and answers everything with lies. It notes what
# it was sent on standard output.
PROGRAM = """
import encodings.idna, fcntl, json, os, socket, sys
lock = os.open(sys.argv[1], os.O_RDONLY)
os.setgroups([]); os.setgid({stranger}); os.setuid({stranger})
lock_again = os.open(sys.argv[1], os.O_RDONLY)
fcntl.flock(lock_again, fcntl.LOCK_EX)
server = socket.create_server(("127.0.0.1", int(sys.argv[2])))
print(server.getsockname()[1], flush=True)
body = json.dumps({{"proof": "0" * 64, "positions_left": 0, "state": "flattening"}}).encode()
while True:
    connection, _ = server.accept()
    sent = connection.recv(65536)
    print(json.dumps(sent.decode("latin-1")), flush=True)
    head = b"HTTP/1.1 200 OK\\r\\ncontent-length: %d\\r\\n\\r\\n"
    connection.sendall(head % len(body) + body)
    connection.close()
"""

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root may start a process of another user"
)


@attrs.define(eq=False)
class Stranger:
    """A process of another user, and what it was sent so far."""

    process: subprocess.Popen[str]
    port: int

    def sent(self) -> str:
        self.process.kill()
        assert self.process.stdout is not None
        return "".join(json.loads(line) for line in self.process.stdout)


@contextmanager
def stranger_at(folder: DataDirectory, port: int = 0) -> Iterator[Stranger]:
    program = PROGRAM.format(stranger=STRANGER)
    with subprocess.Popen(
        [sys.executable, "-c", program, str(folder.lock), str(port)],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield Stranger(process, int(process.stdout.readline()))
        finally:  # it serves for ever: a test that fails must not wait for it
            process.kill()


@pytest.fixture
def dead(traded: DataDirectory, tmp_path: Path) -> DataDirectory:
    """The folder of a run that was killed, as an older version left it; positions are open."""
    for part in (tmp_path, *tmp_path.parents):
        if part != Path("/") and not part.stat().st_mode & 0o001:
            part.chmod(part.stat().st_mode | 0o011)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    traded.lock.write_text(f"{gone.pid}\n")
    traded.path.chmod(0o755)
    for path in (traded.lock, traded.database, traded.exchange):
        path.chmod(0o644)
    record = RunRecord.read(traded)
    assert record is not None
    attrs.evolve(record, pid=gone.pid, operator_socket=False).write(traded)
    assert venue(traded).positions
    return traded


def on_port(folder: DataDirectory, port: int) -> None:
    record = RunRecord.read(folder)
    assert record is not None
    attrs.evolve(record, operator_port=port).write(folder)


@pytest.fixture
def kill(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """A verb on the folder, at the date of its market."""
    clock = SetClock(NOW_MS + MINUTE_MS)
    monkeypatch.setattr(flatten, "SystemClock", lambda: clock)

    def call(verb: str, folder: DataDirectory, *options: object) -> tuple[int, str, str]:
        configuration = folder.path.with_name("kamou.toml")
        configuration.write_text(CONFIGURATION.format(days=2))
        arguments = [verb, "--config", configuration, "--data-dir", folder.path, *options]
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


def test_a_stranger_who_holds_the_lock_and_the_port_is_sent_no_token_and_closes_nothing(
    dead: DataDirectory, kill: Callable[..., tuple[int, str, str]]
) -> None:
    held, token = len(venue(dead).positions), dead.token.read_text().strip()
    with stranger_at(dead) as stranger:
        on_port(dead, stranger.port)
        assert lock_holder(dead.path) is not None, "any flock counts as held"
        code, out, err = kill("flatten", dead, "--json")
        sent = stranger.sent()
    done = json.loads(out)
    assert code == 0
    assert (done["by"], done["positions_closed"], done["positions_left"]) == ("flatten", held, 0)
    assert not venue(dead).positions
    assert "has ended, and another process holds" in err
    assert "closed the data directory" in err
    assert token not in sent
    assert dead.path.stat().st_mode & 0o077 == 0


def test_a_stranger_on_the_port_of_a_process_that_lives_cannot_prove_itself(
    dead: DataDirectory, kill: Callable[..., tuple[int, str, str]]
) -> None:
    """The dead run's process id was given to another process of the operator."""
    token = dead.token.read_text().strip()
    with stranger_at(dead) as stranger:
        on_port(dead, stranger.port)
        dead.lock.write_text(f"{os.getpid()}\n")
        record = RunRecord.read(dead)
        assert record is not None
        attrs.evolve(record, pid=os.getpid()).write(dead)
        for verb in ("halt", "status", "flatten"):
            code, _, err = kill(verb, dead)
            assert code == (0 if verb == "flatten" else 3)
            assert "does not know the token of the run" in err
        sent = stranger.sent()
    assert "GET /api/v1/proof?nonce=" in sent
    assert token not in sent
    assert "authorization" not in sent.lower()
    assert not venue(dead).positions


def test_what_the_stranger_answers_does_not_hide_a_position_that_stays_open(
    dead: DataDirectory,
    kill: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = len(venue(dead).positions)
    monkeypatch.setattr(flatten, "ATTEMPTS_MAX", 0)  # the venue takes no close
    with stranger_at(dead) as stranger:
        on_port(dead, stranger.port)
        code, out, err = kill("flatten", dead, "--json")
    assert code == 6
    assert json.loads(out)["positions_left"] == held
    assert "still open; repeat `kamou flatten`" in err
    with closing(VenueStore(dead.exchange)) as store:
        state = store.load()
    assert state is not None
    assert len(state.positions) == held


def test_a_run_that_a_stranger_keeps_out_is_told_who_and_what_to_do(
    dead: DataDirectory, kill: Callable[..., tuple[int, str, str]]
) -> None:
    with stranger_at(dead) as stranger:
        code, _, err = kill("run", dead, "--port", 0, "--operator-port", 0)
        assert code == 1
        assert f"process {stranger.process.pid} of user {STRANGER} holds the lock" in err
        assert "remove that file" in err


def test_another_user_cannot_look_at_a_folder_and_is_told_to_run_as_its_user(
    dead: DataDirectory,
) -> None:
    dead.path.chmod(0o700)
    program = (
        "import os, sys\n"
        "import kamou.cli, kamou.commands.operator, kamou.store.queries, kamou.runs.flatten\n"
        "import kamou.web.results, trio, httpx, kamou.core.ranking.scan_detail\n"
        "import rich.table, rich.console\n"
        f"os.chdir('/'); os.setgroups([]); os.setgid({STRANGER}); os.setuid({STRANGER})\n"
        "kamou.cli.main(sys.argv[1:])\n"
    )
    for verb in (["status"], ["halt"], ["resume"], ["report"], ["why", "BTCUSDT"]):
        done = subprocess.run(
            [sys.executable, "-c", program, *verb, "--data-dir", str(dead.path)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1, verb
        assert "run this as the user of the run" in done.stderr, verb
        assert "Traceback" not in done.stderr


def test_what_root_flattens_is_left_for_the_folders_owner_to_read(
    traded: DataDirectory, kill: Callable[..., tuple[int, str, str]]
) -> None:
    for path in (traded.path, *traded.path.iterdir()):
        os.chown(path, STRANGER, STRANGER)
    code, _, err = kill("flatten", traded)
    assert code == 0
    assert f"belongs to user {STRANGER}" in err
    assert not venue(traded).positions
    owners = {path.name: path.stat().st_uid for path in traded.path.iterdir()}
    assert {"flatten.log", "halt-latch", "halt-latch.log"} <= set(owners)
    assert set(owners.values()) == {STRANGER}
