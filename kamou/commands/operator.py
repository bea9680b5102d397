"""Talking to a running system through its operator listener."""

from __future__ import annotations

from typing import Any

import attrs

from kamou.errors import KamouError, NotRunningError, TimedOutError
from kamou.folder import DataFolder, RunRecord
from kamou.lock import lock_holder

DEADLINE_S = 15.0  # the listener gives a flatten 10 s; beyond this the system is not well


@attrs.frozen
class Operator:
    """The operator API of the run that left its record in the data folder."""

    record: RunRecord
    token: str

    @staticmethod
    def find(folder: DataFolder) -> Operator:
        """The running system of this data folder.

        Raises:
            NotRunningError: nobody holds the folder, or it is still starting.
        """
        holder = lock_holder(folder.path)
        if holder is None:
            raise NotRunningError(
                f"nothing is running on the data folder {folder.path}; `kamou run` starts it"
            )
        record = RunRecord.read(folder)
        if record is None or record.pid != holder:
            raise NotRunningError(
                f"process {holder} holds the data folder {folder.path} and does not listen yet; "
                "it is starting, or catching up; ask again in a moment"
            )
        try:
            token = folder.token.read_text(encoding="ascii").strip()
        except OSError as error:
            raise KamouError(
                f"cannot read the operator token {folder.token}: {error.strerror}; "
                "run this as the user who runs the system"
            ) from error
        return Operator(record, token)

    def status(self) -> dict[str, Any]:
        """The supervision tree with its mailboxes, and what the system says of itself."""
        return self._ask("GET", "/api/v1/status", None)

    def command(self, verb: str, reason: str) -> dict[str, Any]:
        """``halt``, ``resume`` or ``flatten``: what the system did about it."""
        return self._ask("POST", f"/api/v1/{verb}", {"reason": reason})

    def _ask(self, method: str, path: str, body: dict[str, str] | None) -> dict[str, Any]:
        import httpx

        url = f"http://{_reachable(self.record.operator_host)}:{self.record.operator_port}{path}"
        headers = {"Authorization": f"Bearer {self.token}"}
        try:
            # trust_env=False: a proxy of the environment has no business on the loopback.
            with httpx.Client(timeout=DEADLINE_S, trust_env=False) as client:
                answer = client.request(method, url, headers=headers, json=body)
        except httpx.TimeoutException as error:
            raise TimedOutError(
                f"process {self.record.pid} did not answer {path} within {DEADLINE_S:g} s; "
                "`kamou flatten` does not need its answer"
            ) from error
        except httpx.TransportError as error:
            raise NotRunningError(
                f"process {self.record.pid} does not listen on port {self.record.operator_port}: "
                f"{error}"
            ) from error
        try:
            said = dict(answer.json())
        except (ValueError, TypeError) as error:
            raise KamouError(f"{path} answered {answer.status_code}, and not in JSON") from error
        if answer.status_code >= 400:
            kind = TimedOutError if answer.status_code == 504 else KamouError
            raise kind(f"{path} answered {answer.status_code}: {said.get('error', said)}")
        return said


def _reachable(host: str) -> str:
    """An address to connect to, for a listener bound to every address."""
    if host in ("0.0.0.0", ""):
        return "127.0.0.1"
    if host == "::":
        return "[::1]"
    return f"[{host}]" if ":" in host else host
