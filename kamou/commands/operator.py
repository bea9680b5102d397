"""Client of a run's operator API, on its Unix socket or, without one, on its TCP listener.

No command is sent before the listener is proved to be the run that holds the data directory. On
the socket the kernel names the listening process. Over TCP the listener first proves that it
knows this run's token; only then the client sends the token.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from kamou.data_directory.folder import DataDirectory, RunRecord
from kamou.data_directory.lock import lock_holder
from kamou.errors import KamouError, NothingTradesError, NotRunningError, TimedOutError
from kamou.http.addresses import literal
from kamou.operator.token import new_nonce, proof_holds
from kamou.operator.unix_socket import ListeningProcess, listening_peer, reachable_name

if TYPE_CHECKING:
    import httpx

DEADLINE_S = 15.0  # the listener allows a flatten 10 s


@attrs.frozen(kw_only=True)
class OperatorClient:
    """The operator API of the run that is proved to hold the data directory."""

    record: RunRecord
    socket: Path | None = None  # None: over TCP
    token: str = ""  # sent over TCP only

    @staticmethod
    def find(folder: DataDirectory) -> OperatorClient:
        """Return the client of the run that holds this data directory.

        Raises:
            NothingTradesError: no run holds the data directory, or the run is still starting.
            NotRunningError: the process that answers is not proved to be the run.
            TimedOutError: the run does not accept the connection.
            KamouError: this user may not read the lock or open the socket.
        """
        holder = lock_holder(folder.path)
        if holder is None:
            raise NothingTradesError(
                f"no run holds the data directory {folder.path}; `kamou run` starts one"
            )
        record = RunRecord.read(folder)
        if record is None or record.pid != holder:
            raise NothingTradesError(
                f"process {holder} holds the data directory {folder.path} and does not listen yet, "
                "because it is starting; try again in a few seconds"
            )
        peer = _peer(folder, holder) if record.operator_socket else None
        if peer is None:
            return _over_tcp(folder, record)
        if peer != ListeningProcess(pid=holder, uid=os.geteuid()):
            raise NotRunningError(
                f"process {peer.pid} of user {peer.uid} listens on {folder.operator_socket}, but "
                f"process {holder} holds the lock: it is not proved to be this user's run; "
                "end the process that does not belong there"
            )
        return OperatorClient(record=record, socket=folder.operator_socket)

    def status(self) -> dict[str, Any]:
        """Return the run's status: its supervision tree with mailboxes, and its account."""
        return self._ask("GET", "/api/v1/status", None)

    def command(self, verb: str, reason: str) -> dict[str, Any]:
        """Send ``halt``, ``resume`` or ``flatten``; return what the run did."""
        return self._ask("POST", f"/api/v1/{verb}", {"reason": reason})

    def _ask(self, method: str, path: str, body: dict[str, str] | None) -> dict[str, Any]:
        headers = {} if self.socket else {"Authorization": f"Bearer {self.token}"}
        answer = _request(self.record, self.socket, method, path, headers=headers, json=body)
        try:
            said = dict(answer.json())
        except (ValueError, TypeError) as error:
            raise KamouError(
                f"process {self.record.pid} answered {path} with {answer.status_code} and no JSON"
            ) from error
        if answer.status_code >= 400:
            kind = TimedOutError if answer.status_code == 504 else KamouError
            plain = f"process {self.record.pid} answered {path} with {answer.status_code}: {said}"
            raise kind(str(said.get("error") or plain))
        return said


def _peer(folder: DataDirectory, holder: int) -> ListeningProcess | None:
    """Return the process that listens on the socket; None if there is none, or unknown."""
    try:
        return listening_peer(folder.operator_socket, deadline_s=DEADLINE_S)
    except TimeoutError as error:
        raise TimedOutError(
            f"process {holder} did not accept a connection within {DEADLINE_S:g} s; "
            "`kamou flatten` does not need its answer"
        ) from error
    except PermissionError as error:
        raise KamouError(
            f"cannot open the operator's socket {folder.operator_socket}: {error.strerror}; "
            "run this as the user of the run"
        ) from error
    except OSError:
        return None


def _over_tcp(folder: DataDirectory, record: RunRecord) -> OperatorClient:
    """Return a client of the TCP listener, after it proved that it knows this run's token."""
    if not _lives(record.pid):
        raise NotRunningError(
            f"process {record.pid}, which wrote {folder.run_record}, has ended, and another "
            f"process holds {folder.lock}; end that process, or wait until it listens"
        )
    if record.operator_port is None:
        raise NotRunningError(
            f"process {record.pid} does not listen on {folder.operator_socket}, and its setting "
            "web.operator_tcp is false; restart the run"
        )
    try:
        token = folder.token.read_text(encoding="ascii").strip()
    except OSError as error:
        raise KamouError(
            f"cannot read the operator token {folder.token}: {error.strerror}; "
            "run this as the user of the run"
        ) from error
    nonce = new_nonce()
    answer = _request(record, None, "GET", f"/api/v1/proof?nonce={nonce}")
    proof = ""
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        proof = str(answer.json().get("proof", ""))
    if not proof_holds(token, nonce, proof):
        raise NotRunningError(
            f"the process on port {record.operator_port} does not know the token of the run on "
            f"{folder.path}, so no command was sent; find out which process listens there"
        )
    return OperatorClient(record=record, token=token)


def _request(
    record: RunRecord, socket: Path | None, method: str, path: str, **given: Any
) -> httpx.Response:
    """Send one request to the socket, or over TCP, and return its response.

    The deadline is for the whole exchange: httpx limits only each read, so a listener that sends
    one byte at a time would keep a flatten from closing.
    """
    import httpx
    import trio

    def exchange() -> httpx.Response:
        with _client(record, socket) as client:
            return client.request(method, path, **given)

    async def bounded() -> httpx.Response:
        with trio.fail_after(DEADLINE_S):
            return await trio.to_thread.run_sync(exchange, abandon_on_cancel=True)

    try:
        return trio.run(bounded)
    except (httpx.TimeoutException, trio.TooSlowError) as error:
        raise TimedOutError(
            f"process {record.pid} did not answer {path.partition('?')[0]} within "
            f"{DEADLINE_S:g} s; `kamou flatten` does not need its answer"
        ) from error
    except httpx.TransportError as error:
        raise NotRunningError(
            f"process {record.pid} does not listen on port {record.operator_port}: {error}; "
            "check that it runs"
        ) from error


@contextlib.contextmanager
def _client(record: RunRecord, socket: Path | None) -> Iterator[httpx.Client]:
    import httpx

    # trust_env=False: a proxy of the environment must not see the loopback.
    if socket is None:
        base = f"http://{_reachable(record.operator_host)}:{record.operator_port}"
        with httpx.Client(base_url=base, timeout=DEADLINE_S, trust_env=False) as client:
            yield client
        return
    with reachable_name(socket) as name:
        transport = httpx.HTTPTransport(uds=name)
        with httpx.Client(
            base_url="http://localhost", timeout=DEADLINE_S, transport=transport, trust_env=False
        ) as client:
            yield client


def _lives(pid: int) -> bool:
    """Return True if this is a process that this user may signal."""
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def _reachable(host: str) -> str:
    """Return an address to connect to, for a listener bound to all addresses."""
    if host in ("0.0.0.0", ""):
        return "127.0.0.1"
    if host == "::":
        return literal("::1")
    return literal(host)
