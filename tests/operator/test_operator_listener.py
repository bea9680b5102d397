from __future__ import annotations

import stat
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest

from kamou.errors import CallTimeoutError, CallUnavailableError, StoreError
from kamou.operator.app import Operations, default_hosts, operator_app
from kamou.operator.metrics import exposition
from kamou.operator.token import make_proof, new_nonce, new_token, token_matches, verify_proof
from tests.site_client import Client

TOKEN = "a-token-of-this-test"
HALTED = "halted by the operator"
BEARER = {"authorization": f"Bearer {TOKEN}"}
RIGHT = [(b"host", b"localhost"), (b"authorization", BEARER["authorization"].encode())]
TREE: dict[str, Any] = {
    "id": "root",
    "kind": "supervisor",
    "children": [
        {
            "id": "core",
            "kind": "supervisor",
            "state": "running",
            "restarts": 0,
            "busy_s": 0.0,
            "mailboxes": [],
            "children": [
                {
                    "id": "journal",
                    "state": "running",
                    "restarts": 2,
                    "busy_s": 1.5,
                    "mailboxes": [
                        {
                            "name": 'journal "inbox"',
                            "depth": 3,
                            "capacity": 64,
                            "peak": 9,
                            "accepted": 100,
                            "rejected": 1,
                            "dropped": 0,
                            "expired": 2,
                            "dead_letters": 0,
                        }
                    ],
                },
                {"id": "feed", "state": "backing-off", "restarts": 5, "busy_s": 0.25},
            ],
        }
    ],
}
STATUS: dict[str, Any] = {
    "mode": "demo",
    "phase": "trading",
    "state": "reduce_only",
    "state_reason": "OPERATOR_HALT",
    "equity": Decimal("10000.50"),
    "gauges": {"equity": 10_000.5, "open_positions": 3, "journal_seq": 42, "day_loss": None},
}


class Commands:
    """Commands that record their reasons, or raise a given error."""

    def __init__(self, error: Exception | None = None) -> None:
        self.received: list[tuple[str, str]] = []
        self._error = error

    def command(self, name: str) -> Any:
        async def act(reason: str) -> Mapping[str, Any]:
            if self._error is not None:
                raise self._error
            self.received.append((name, reason))
            return {"done": name}

        return act


def operations(commands: Commands | None = None) -> Operations:
    commands = commands or Commands()
    return Operations(
        snapshot=lambda: TREE,
        status=lambda: STATUS,
        not_ready=lambda: (),
        **{verb: commands.command(verb) for verb in ("halt", "resume", "flatten")},
    )


def app(made: Operations | None = None) -> Any:
    return operator_app(made or operations(), token=TOKEN, allowed_hosts=default_hosts("127.0.0.1"))


async def test_the_health_checks_need_no_token(client: Client) -> None:
    async with client(app()) as http:
        assert (await http.get("/healthz")).json() == {"alive": True}
        assert (await http.get("/readyz")).json() == {
            "ready": True,
            "message": f"ready; trading state reduce_only ({HALTED}), no entry is allowed",
            "phase": "trading",
            "state": "reduce_only",
            "state_reason": "OPERATOR_HALT",
            "reasons": [],
            "degraded": [],
        }


async def test_marks_are_read_for_a_status_and_not_for_probes_or_metrics(client: Client) -> None:
    read: list[str] = []

    async def refresh() -> None:
        read.append("marks")

    made = attrs.evolve(operations(), refresh=refresh, status=lambda: {**STATUS, "read": [*read]})
    async with client(app(made)) as http:
        for path in ("/readyz", "/healthz", "/metrics"):
            assert (await http.get(path, headers=BEARER)).status_code == 200
        assert read == []
        status = (await http.get("/api/v1/status", headers=BEARER)).json()
    assert status["read"] == ["marks"]
    assert (status["not_ready"], status["degraded"]) == ([], [])


async def test_a_failed_public_site_is_reported_and_the_run_stays_ready(
    client: Client,
) -> None:
    async with client(
        app(attrs.evolve(operations(), degraded=lambda: ["the site is down"]))
    ) as http:
        answer = await http.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["degraded"] == ["the site is down"]


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", TOKEN, "Bearer t\u00e9"],
)
async def test_without_the_token_status_metrics_and_commands_get_401_and_no_command_is_carried_out(
    client: Client, authorization: str | None
) -> None:
    commands = Commands()
    headers = {} if authorization is None else {b"authorization": authorization.encode()}
    async with client(app(operations(commands))) as http:
        for method, path in (
            ("GET", "/metrics"),
            ("GET", "/api/v1/status"),
            ("POST", "/api/v1/halt"),
            ("POST", "/api/v1/flatten"),
            ("GET", "/nowhere"),
        ):
            answer = await http.request(method, path, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Bearer")
    assert commands.received == []


MISDIRECTED = [
    "evil.example",
    "127.0.0.1.evil.example",
    "",
    "[::2]:8081",
    "127.0.0.1:x.evil.com",
    "127.0.0.1:8081.evil.com",
    "127.0.0.1:",
    "127.0.0.1:8081:8081",
    "127.0.0.1:-1",
    "127.0.0.1:\xb2",
    "[::1]x.evil.com",
    "[::1]:x",
    "[::1",
    "::1",
    "[::1].evil.com:80",
    "user@127.0.0.1",
    "127.0.0.1, 127.0.0.1",
    "localhost.",
]


@pytest.mark.parametrize("host", MISDIRECTED)
async def test_a_request_with_another_or_an_invalid_host_name_gets_421_even_with_the_token(
    client: Client, host: str
) -> None:
    async with client(app()) as http:
        headers = [RIGHT[1], (b"host", host.encode("latin-1"))]
        answer = await http.get("/healthz", headers=headers)
    assert answer.status_code == 421


@pytest.mark.parametrize("host", ["127.0.0.1:8081", "localhost", "LOCALHOST:1", "[::1]:8081"])
async def test_the_listeners_own_host_names_are_answered_with_any_port(
    client: Client, host: str
) -> None:
    async with client(app()) as http:
        assert (await http.get("/healthz", headers={"host": host})).status_code == 200


@pytest.mark.parametrize(
    ("doubled", "status"), [((b"host", b"localhost"), 421), ((b"authorization", b"Bearer x"), 401)]
)
async def test_a_request_with_two_host_headers_gets_421_and_with_two_tokens_401(
    client: Client, doubled: tuple[bytes, bytes], status: int
) -> None:
    async with client(app()) as http:
        for headers in ([doubled, *RIGHT], [*RIGHT, doubled]):
            assert (await http.get("/metrics", headers=headers)).status_code == status


def test_the_host_name_of_an_ipv6_address_is_in_brackets() -> None:
    assert "[fd00::1]" in default_hosts("fd00::1")


async def test_the_status_has_the_account_and_the_supervision_tree(client: Client) -> None:
    async with client(app()) as http:
        answer = await http.get("/api/v1/status", headers=BEARER)
    found = answer.json()
    assert found["supervision"] == TREE
    assert found["equity"] == "10000.50"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("name", ["halt", "resume", "flatten"])
async def test_only_a_post_passes_on_a_command_and_its_reason(client: Client, name: str) -> None:
    commands = Commands()
    async with client(app(operations(commands))) as http:
        path = f"/api/v1/{name}"
        with_reason = await http.post(path, headers=BEARER, json={"reason": " bad news "})
        without = await http.post(path, headers=BEARER)
        blank = await http.post(path, headers=BEARER, json={})
        read = await http.get(path, headers=BEARER)
    assert with_reason.json() == {"done": name}
    assert without.status_code == blank.status_code == 200
    assert commands.received == [(name, "bad news"), (name, ""), (name, "")]
    assert read.status_code == 405


async def test_a_body_that_is_not_a_command_gets_400_or_413(client: Client) -> None:
    commands = Commands()
    async with client(app(operations(commands))) as http:
        wrong = await http.post("/api/v1/halt", headers=BEARER, content=b'{"why": 1}')
        no_text = await http.post("/api/v1/halt", headers=BEARER, content=b'{"reason": "\xff"}')
        large = await http.post("/api/v1/resume", headers=BEARER, content=b"x" * 5000)
    assert wrong.status_code == 400
    assert no_text.status_code == 400
    assert large.status_code == 413
    assert commands.received == []


@pytest.mark.parametrize(("verb", "status"), [("resume", 413), ("halt", 200)])
async def test_a_body_without_end_is_read_up_to_the_limit(verb: str, status: int) -> None:
    reads = 0
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        nonlocal reads
        reads += 1
        return {"type": "http.request", "body": b"x" * 1000, "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": f"/api/v1/{verb}",
        "query_string": b"",
        "headers": RIGHT,
    }
    await app()(scope, receive, send)
    assert sent[0]["status"] == status
    assert reads == 5


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (CallTimeoutError("no answer"), 504),
        (CallUnavailableError("down"), 503),
        (RuntimeError("odd"), 500),
    ],
)
async def test_a_failed_command_is_an_error(client: Client, error: Exception, status: int) -> None:
    async with client(app(operations(Commands(error)))) as http:
        answer = await http.post("/api/v1/halt", headers=BEARER)
    assert answer.status_code == status
    assert str(error) in answer.json()["error"]


async def test_metrics_are_in_the_text_format_of_prometheus(client: Client) -> None:
    async with client(app()) as http:
        answer = await http.get("/metrics", headers=BEARER)
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = answer.text.splitlines()
    for line in (
        "# TYPE kamou_actor_restarts_total counter",
        'kamou_actor_restarts_total{actor="journal"} 2.0',
        'kamou_actor_up{actor="feed"} 0.0',
        'kamou_actor_up{actor="journal"} 1.0',
        'kamou_actor_busy_seconds_total{actor="journal"} 1.5',
        'kamou_mailbox_depth{mailbox="journal \\"inbox\\""} 3.0',
        'kamou_mailbox_peak{mailbox="journal \\"inbox\\""} 9.0',
        'kamou_mailbox_expired_total{mailbox="journal \\"inbox\\""} 2.0',
        'kamou_trading_state{state="reduce_only"} 1.0',
        'kamou_trading_state{state="active"} 0.0',
        "kamou_equity 10000.5",
        "kamou_open_positions 3.0",
        "kamou_journal_seq 42.0",
    ):
        assert line in lines
    assert "day_loss" not in answer.text
    assert answer.text.endswith("\n")


def test_metrics_omit_families_without_samples() -> None:
    text = exposition({}, {})
    assert "mailbox" not in text
    assert "kamou_trading_state" in text


async def test_an_unknown_path_is_not_found_for_the_operator(client: Client) -> None:
    async with client(app()) as http:
        assert (await http.get("/nowhere", headers=BEARER)).status_code == 404


# --- the token -----------------------------------------------------------------------------------


def test_a_new_token_replaces_an_earlier_one_and_its_file_has_mode_0600(tmp_path: Path) -> None:
    path = tmp_path / "operator-token"
    path.write_text("of an earlier run, and open to others")
    path.chmod(0o644)
    token = new_token(path)
    assert path.read_text() == f"{token}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(token) >= 43
    assert new_token(path) != token


def test_a_token_that_cannot_be_written_is_an_error_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="absent"):
        new_token(tmp_path / "absent" / "operator-token")


def test_a_proof_is_valid_only_for_its_token_and_its_nonce() -> None:
    nonce = new_nonce()
    proof = make_proof(TOKEN, nonce)
    assert proof is not None
    assert verify_proof(TOKEN, nonce, proof)
    assert not verify_proof("another token", nonce, proof)
    assert not verify_proof(TOKEN, new_nonce(), proof)
    assert not any(verify_proof(TOKEN, each, "") for each in (nonce, "an invalid nonce"))
    assert TOKEN not in proof


@pytest.mark.parametrize("nonce", ["", "short", "g" * 32, "0" * 33, "0" * 31 + "\n"])
async def test_an_invalid_nonce_gets_no_proof(client: Client, nonce: str) -> None:
    async with client(app()) as http:
        answer = await http.get("/api/v1/proof", params={"nonce": nonce})
    assert answer.status_code == 400
    assert "proof" not in answer.json()


async def test_the_proof_needs_no_token_and_does_not_reveal_it(client: Client) -> None:
    nonce = new_nonce()
    async with client(app()) as http:
        answer = await http.get("/api/v1/proof", params={"nonce": nonce})
    assert verify_proof(TOKEN, nonce, answer.json()["proof"])
    assert TOKEN not in answer.text


async def test_the_unix_socket_needs_the_host_localhost_but_no_token_and_gives_no_proof(
    client: Client,
) -> None:
    commands = Commands()
    local = operator_app(operations(commands), token=None, allowed_hosts=("localhost",))
    async with client(local) as http:
        headers = {"host": "localhost"}
        assert (await http.post("/api/v1/halt", headers=headers)).json() == {"done": "halt"}
        proof = await http.get(f"/api/v1/proof?nonce={new_nonce()}", headers=headers)
        assert proof.status_code == 404
        other = await http.get("/healthz", headers={"host": "evil.example"})
        assert other.status_code == 421
    assert commands.received == [("halt", "")]


def test_only_the_bearer_scheme_and_the_whole_token_match() -> None:
    assert not token_matches(f"Basic {TOKEN}", TOKEN)
    assert token_matches(f"bearer {TOKEN}", TOKEN)
    assert not token_matches(f"Bearer {TOKEN[:-1]}", TOKEN)
    assert not token_matches(f"Bearer {TOKEN}x", TOKEN)


def test_an_empty_token_is_an_error() -> None:
    with pytest.raises(AssertionError):
        operator_app(operations(), token="", allowed_hosts=())
