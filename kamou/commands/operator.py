"""Client of a run's operator API, over its Unix socket or, without one, over TCP.

The client sends a command only to a listener that is proved to be the run that holds the data
directory. On the socket the kernel names the listening process. Over TCP the listener first proves
that it knows this run's token; only then the client sends the token.
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
from kamou.operator.token import new_nonce, verify_proof
from kamou.operator.unix_socket import ListeningProcess, listening_peer, reachable_name

if TYPE_CHECKING:
    import httpx

DEADLINE_S = 15.0  # of one request; longer than a run may take to answer a flatten


@attrs.frozen(kw_only=True)
class OperatorClient:
    """Client of the run that is proved to hold the data directory."""

    record: RunRecord
    socket: Path | None = None  # None: over TCP
    token: str = ""  # only for TCP

    @staticmethod
    def find(directory: DataDirectory) -> OperatorClient:
        """Return the client of the run that holds this data directory.

        Raises:
            NothingTradesError: no run holds the data directory, or its holder does not listen yet.
            NotRunningError: the process that answers is not proved to be the run, or the run has
                ended or does not listen.
            TimedOutError: the run does not accept the connection, or does not answer in time.
            KamouError: this user may not read the lock or the token, or open the socket.
        """
        holder = lock_holder(directory.path)
        if holder is None:
            raise NothingTradesError(
                f"no run holds the data directory {directory.path}; `kamou run` starts one"
            )
        record = RunRecord.read(directory)
        if record is None or record.pid != holder:
            raise NothingTradesError(
                f"process {holder} holds the data directory {directory.path} and does not listen "
                "yet; if it is a run that starts, try again in a few seconds"
            )
        peer = _find_peer(directory, holder) if record.operator_socket else None
        if peer is None:
            return _connect_over_tcp(directory, record)
        if peer != ListeningProcess(pid=holder, uid=os.geteuid()):
            raise NotRunningError(
                f"process {peer.pid} of user {peer.uid} listens on {directory.operator_socket}, "
                f"but process {holder} holds the lock, so the listener is not proved to be this "
                "user's run; end the process that does not belong there"
            )
        return OperatorClient(record=record, socket=directory.operator_socket)

    def status(self) -> dict[str, Any]:
        """Return the run's status (``RunStatus``), with readiness and supervision tree.

        Raises:
            KamouError: as in ``command``.
        """
        return self._send("GET", "/api/v1/status", None)

    def command(self, verb: str, reason: str) -> dict[str, Any]:
        """Send ``halt``, ``resume`` or ``flatten``; return the run's response.

        Raises:
            TimedOutError: no response came in time, so the outcome is unknown.
            NotRunningError: the run has ended or does not listen.
            KamouError: the response is an error, or not a JSON object.
        """
        return self._send("POST", f"/api/v1/{verb}", {"reason": reason})

    def _send(self, method: str, path: str, body: dict[str, str] | None) -> dict[str, Any]:
        headers = {} if self.socket else {"Authorization": f"Bearer {self.token}"}
        response = _request(self.record, self.socket, method, path, headers=headers, body=body)
        try:
            document = dict(response.json())
        except (ValueError, TypeError) as error:
            raise KamouError(
                f"process {self.record.pid} answered {path} with {response.status_code} "
                "and no JSON; check that the run and this command are of one version"
            ) from error
        if response.status_code >= 400:
            kind = TimedOutError if response.status_code == 504 else KamouError
            plain = (
                f"process {self.record.pid} answered {path} with {response.status_code}: {document}"
                "; check that the run and this command are of one version"
            )
            raise kind(str(document.get("error") or plain))
        return document


def _find_peer(directory: DataDirectory, holder: int) -> ListeningProcess | None:
    """Return the process that listens on the socket; None if none is known.

    Raises:
        TimedOutError: no connection was accepted in time.
        KamouError: this user may not open the socket.
    """
    try:
        return listening_peer(directory.operator_socket, deadline_s=DEADLINE_S)
    except TimeoutError as error:
        raise TimedOutError(
            f"process {holder} did not accept a connection within {DEADLINE_S:g} s; "
            "`kamou flatten` needs no answer of that process"
        ) from error
    except PermissionError as error:
        raise KamouError(
            f"cannot open the operator's socket {directory.operator_socket}: {error.strerror}; "
            "run this as the user of the run"
        ) from error
    except OSError:
        return None


def _connect_over_tcp(directory: DataDirectory, record: RunRecord) -> OperatorClient:
    """Return a client of the TCP listener after it proved to know this run's token.

    Raises:
        NotRunningError: the run has ended or does not listen, or the listener is not the run's.
        TimedOutError: the listener does not respond in time.
        KamouError: this user may not read the token.
    """
    if not _process_exists(record.pid):
        raise NotRunningError(
            f"process {record.pid}, which wrote {directory.run_record}, has ended, and another "
            f"process holds {directory.lock}; end that process, or wait until it listens"
        )
    if record.operator_port is None:
        raise NotRunningError(
            f"process {record.pid} does not listen on {directory.operator_socket}, and its setting "
            "web.operator_tcp is false; restart the run"
        )
    try:
        token = directory.token.read_text(encoding="ascii").strip()
    except OSError as error:
        raise KamouError(
            f"cannot read the operator token {directory.token}: {error.strerror}; "
            "run this as the user of the run"
        ) from error
    nonce = new_nonce()
    response = _request(record, None, "GET", f"/api/v1/proof?nonce={nonce}")
    proof = ""
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        proof = str(response.json().get("proof", ""))
    if not verify_proof(token, nonce, proof):
        raise NotRunningError(
            f"the process on port {record.operator_port} does not know the token of the run on "
            f"{directory.path}, so no command was sent; find out which process listens there"
        )
    return OperatorClient(record=record, token=token)


def _request(
    record: RunRecord,
    socket: Path | None,
    method: str,
    path: str,
    *,
    headers: dict[str, str] | None = None,
    body: dict[str, str] | None = None,
) -> httpx.Response:
    """Send one request, over TCP if ``socket`` is None; return the response.

    The deadline is for the whole exchange. httpx limits only each read, so a listener that sends
    one byte at a time could delay a flatten without end.

    Raises:
        TimedOutError: no complete response came within ``DEADLINE_S``.
        NotRunningError: the connection failed.
    """
    import httpx
    import trio

    def exchange() -> httpx.Response:
        with _client(record, socket) as client:
            return client.request(method, path, headers=headers, json=body)

    async def bounded() -> httpx.Response:
        with trio.fail_after(DEADLINE_S):
            return await trio.to_thread.run_sync(exchange, abandon_on_cancel=True)

    try:
        return trio.run(bounded)
    except (httpx.TimeoutException, trio.TooSlowError) as error:
        raise TimedOutError(
            f"process {record.pid} did not answer {path.partition('?')[0]} within "
            f"{DEADLINE_S:g} s; `kamou flatten` needs no answer of that process"
        ) from error
    except httpx.TransportError as error:
        raise NotRunningError(
            f"process {record.pid} did not answer on {socket or f'port {record.operator_port}'}: "
            f"{error}; "
            "check that it runs"
        ) from error


@contextlib.contextmanager
def _client(record: RunRecord, socket: Path | None) -> Iterator[httpx.Client]:
    import httpx

    # trust_env=False: a proxy from the environment must not get the operator's requests.
    if socket is None:
        base = f"http://{_connect_address(record.operator_host)}:{record.operator_port}"
        with httpx.Client(base_url=base, timeout=DEADLINE_S, trust_env=False) as client:
            yield client
        return
    with reachable_name(socket) as name:
        transport = httpx.HTTPTransport(uds=name)
        with httpx.Client(
            base_url="http://localhost", timeout=DEADLINE_S, transport=transport, trust_env=False
        ) as client:
            yield client


def _process_exists(pid: int) -> bool:
    """Return True if the process exists and this user may signal it."""
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def _connect_address(host: str) -> str:
    """Return the address to connect to: the loopback for a listener on all addresses."""
    if host in ("0.0.0.0", ""):
        return "127.0.0.1"
    if host == "::":
        return literal("::1")
    return literal(host)
