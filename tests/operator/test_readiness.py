"""Tests of ``/readyz``: readiness, trading state, and reasons against readiness."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from kamou.operator.app import Operations, default_hosts, operator_app
from tests.site_client import Client


async def fail_command(reason: str) -> dict[str, Any]:
    """Fail the test, because these tests send no command."""
    raise AssertionError


def operations() -> Operations:
    return Operations(
        snapshot=dict,
        status=lambda: {"phase": "trading", "state": "active", "state_reason": ""},
        not_ready=lambda: (),
        halt=fail_command,
        resume=fail_command,
        flatten=fail_command,
    )


def app(made: Operations) -> Any:
    return operator_app(made, token="t", allowed_hosts=default_hosts("127.0.0.1"))


@pytest.mark.parametrize(
    ("state", "reason", "message"),
    [
        ("active", "", "ready; trading state active"),
        (
            "reduced_size",
            "DAY_LOSS_HALF",
            "ready; trading state reduced_size (the day's loss reached the limit for half size)",
        ),
        (
            "flattening",
            "OPERATOR_FLATTEN",
            "ready; trading state flattening (flattened by the operator), no entry is allowed",
        ),
    ],
)
async def test_the_readiness_of_a_ready_run_has_its_trading_state(
    client: Client, state: str, reason: str, message: str
) -> None:
    status = {"phase": "trading", "state": state, "state_reason": reason}
    async with client(app(attrs.evolve(operations(), status=lambda: status))) as http:
        answer = await http.get("/readyz")
    assert answer.status_code == 200
    body = answer.json()
    assert (body["ready"], body["state"], body["message"]) == (True, state, message)
    assert body["state_reason"] == (reason or None)


async def test_the_readiness_of_a_run_that_is_not_ready_is_503_with_its_reasons(
    client: Client,
) -> None:
    waiting = attrs.evolve(
        operations(),
        not_ready=lambda: ["not reconciled", "the disk is full"],
        status=lambda: {"phase": "trading", "state": "active", "state_reason": ""},
        degraded=lambda: ["the site is down"],
    )
    async with client(app(waiting)) as http:
        answer = await http.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {
        "ready": False,
        "message": "not ready: not reconciled; the disk is full; trading state active",
        "phase": "trading",
        "state": "active",
        "state_reason": None,
        "reasons": ["not reconciled", "the disk is full"],
        "degraded": ["the site is down"],
    }


async def test_the_readiness_before_trading_has_the_phase_and_no_state(
    client: Client,
) -> None:
    starting = attrs.evolve(
        operations(),
        not_ready=lambda: ["not trading yet: the run is starting"],
        status=lambda: {"phase": "starting", "state": None},
    )
    async with client(app(starting)) as http:
        answer = await http.get("/readyz")
    assert answer.status_code == 503
    body = answer.json()
    assert (body["phase"], body["state"], body["state_reason"]) == ("starting", None, None)
    assert body["message"] == "not ready: not trading yet: the run is starting"
