"""Tests against another user with the lock and the port of a killed run.

The data directory is as an older version left it: open to others, with a lock that every user can
read. The attacker is a process of another user, so these tests need root.
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

from kamou.cli import main
from kamou.core.day import MINUTE_MS
from kamou.data_directory.folder import DataDirectory, RunRecord
from kamou.data_directory.lock import lock_holder
from kamou.runs import flatten
from kamou.venue.store import VenueStore
from tests.runs.test_processes import CONFIGURATION
from tests.small_demo import NOW_MS, SetClock, venue

OTHER_USER = 12_345  # a user id without files here

# This program holds the lock, listens on a port and prints the port. It prints each request and
# answers it with a false proof.
PROGRAM = """
import encodings.idna, fcntl, json, os, socket, sys
lock = os.open(sys.argv[1], os.O_RDONLY)
os.setgroups([]); os.setgid({other}); os.setuid({other})
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
class OtherUser:
    """A process of another user, and the requests that it received."""

    process: subprocess.Popen[str]
    port: int

    def sent(self) -> str:
        self.process.kill()
        assert self.process.stdout is not None
        return "".join(json.loads(line) for line in self.process.stdout)


@contextmanager
def run_other_user(data_dir: DataDirectory, port: int = 0) -> Iterator[OtherUser]:
    program = PROGRAM.format(other=OTHER_USER)
    with subprocess.Popen(
        [sys.executable, "-c", program, str(data_dir.lock), str(port)],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield OtherUser(process, int(process.stdout.readline()))
        finally:  # it serves for ever, so a test that fails must not wait for it
            process.kill()


@pytest.fixture
def killed_run(traded: DataDirectory, tmp_path: Path) -> DataDirectory:
    """Return the data directory of a killed run of an older version, with positions."""
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


def record_port(data_dir: DataDirectory, port: int) -> None:
    record = RunRecord.read(data_dir)
    assert record is not None
    attrs.evolve(record, operator_port=port).write(data_dir)


@pytest.fixture
def run_verb(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run a verb on the data directory, at the date of its market."""
    clock = SetClock(NOW_MS + MINUTE_MS)
    monkeypatch.setattr(flatten, "SystemClock", lambda: clock)

    def call(verb: str, data_dir: DataDirectory, *options: object) -> tuple[int, str, str]:
        configuration = data_dir.path.with_name("kamou.toml")
        configuration.write_text(CONFIGURATION.format(days=2))
        arguments = [verb, "--config", configuration, "--data-dir", data_dir.path, *options]
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


def test_a_flatten_closes_positions_and_sends_no_token_to_another_user_with_lock_and_port(
    killed_run: DataDirectory, run_verb: Callable[..., tuple[int, str, str]]
) -> None:
    held, token = len(venue(killed_run).positions), killed_run.token.read_text().strip()
    with run_other_user(killed_run) as other:
        record_port(killed_run, other.port)
        assert lock_holder(killed_run.path) is not None, "any flock counts as held"
        code, out, err = run_verb("flatten", killed_run, "--json")
        sent = other.sent()
    done = json.loads(out)
    assert code == 0
    assert (done["by"], done["positions_closed"], done["positions_left"]) == ("flatten", held, 0)
    assert not venue(killed_run).positions
    assert "has ended, and another process holds" in err
    assert "closed the data directory" in err
    assert token not in sent
    assert killed_run.path.stat().st_mode & 0o077 == 0


def test_another_users_listener_on_the_port_of_a_live_process_gives_no_proof(
    killed_run: DataDirectory, run_verb: Callable[..., tuple[int, str, str]]
) -> None:
    """The killed run's process id was given to another process of the operator."""
    token = killed_run.token.read_text().strip()
    with run_other_user(killed_run) as other:
        record_port(killed_run, other.port)
        killed_run.lock.write_text(f"{os.getpid()}\n")
        record = RunRecord.read(killed_run)
        assert record is not None
        attrs.evolve(record, pid=os.getpid()).write(killed_run)
        for verb in ("halt", "status", "flatten"):
            code, _, err = run_verb(verb, killed_run)
            assert code == (0 if verb == "flatten" else 3)
            assert "does not know the token of the run" in err
        sent = other.sent()
    assert "GET /api/v1/proof?nonce=" in sent
    assert token not in sent
    assert "authorization" not in sent.lower()
    assert not venue(killed_run).positions


def test_a_false_answer_of_another_user_does_not_hide_a_position_that_stays_open(
    killed_run: DataDirectory,
    run_verb: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = len(venue(killed_run).positions)
    monkeypatch.setattr(flatten, "ATTEMPTS_MAX", 0)  # no exit order is sent
    with run_other_user(killed_run) as other:
        record_port(killed_run, other.port)
        code, out, err = run_verb("flatten", killed_run, "--json")
    assert code == 6
    assert json.loads(out)["positions_left"] == held
    assert "still open; repeat `kamou flatten`" in err
    with closing(VenueStore(killed_run.exchange)) as store:
        state = store.load()
    assert state is not None
    assert len(state.positions) == held


def test_a_run_whose_lock_another_user_holds_fails_with_the_process_and_the_next_step(
    killed_run: DataDirectory, run_verb: Callable[..., tuple[int, str, str]]
) -> None:
    with run_other_user(killed_run) as other:
        code, _, err = run_verb("run", killed_run, "--port", 0, "--operator-port", 0)
        assert code == 1
        assert f"process {other.process.pid} of user {OTHER_USER} holds the lock" in err
        assert "remove that file" in err


def test_another_user_cannot_read_a_data_directory_and_the_error_names_the_next_step(
    killed_run: DataDirectory,
) -> None:
    killed_run.path.chmod(0o700)
    program = (
        "import os, sys\n"
        "import kamou.cli, kamou.commands.operator, kamou.store.queries, kamou.runs.flatten\n"
        "import kamou.web.results, trio, httpx, kamou.core.ranking.scan_detail\n"
        "import rich.table, rich.console\n"
        f"os.chdir('/'); os.setgroups([]); os.setgid({OTHER_USER}); os.setuid({OTHER_USER})\n"
        "kamou.cli.main(sys.argv[1:])\n"
    )
    for verb in (["status"], ["halt"], ["resume"], ["report"], ["why", "BTCUSDT"]):
        done = subprocess.run(
            [sys.executable, "-c", program, *verb, "--data-dir", str(killed_run.path)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1, verb
        assert "the user of the run" in done.stderr, verb
        assert "Traceback" not in done.stderr


def test_the_data_directorys_owner_can_read_the_files_of_a_flatten_by_root(
    traded: DataDirectory, run_verb: Callable[..., tuple[int, str, str]]
) -> None:
    for path in (traded.path, *traded.path.iterdir()):
        os.chown(path, OTHER_USER, OTHER_USER)
    code, _, err = run_verb("flatten", traded)
    assert code == 0
    assert f"belongs to user {OTHER_USER}" in err
    assert not venue(traded).positions
    owners = {path.name: path.stat().st_uid for path in traded.path.iterdir()}
    assert {"flatten.log", "halt-latch", "halt-latch.log"} <= set(owners)
    assert set(owners.values()) == {OTHER_USER}
