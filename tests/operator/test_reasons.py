"""Tests of a command's reason: a long one fails a resume, and no halt or flatten."""

from __future__ import annotations

import pytest

from tests.operator.test_operator_listener import BEARER, Commands, app, operations
from tests.site_client import Client


@pytest.mark.parametrize("name", ["halt", "flatten"])
async def test_a_halt_or_a_flatten_with_a_reason_that_is_too_long_is_carried_out_with_a_warning(
    client: Client, name: str
) -> None:
    commands = Commands()
    async with client(app(operations(commands))) as http:
        path = f"/api/v1/{name}"
        fits = await http.post(path, headers=BEARER, json={"reason": 200 * "w"})
        long = await http.post(path, headers=BEARER, json={"reason": 201 * "w"})
        large = await http.post(path, headers=BEARER, json={"reason": 5_000 * "w"})
    assert commands.received == [(name, 200 * "w"), (name, 200 * "w"), (name, "")]
    assert fits.json() == {"done": name}
    assert "shortened from 201 to 200 characters" in long.json()["warning"]
    assert "its reason was left out" in large.json()["warning"]


async def test_a_resume_with_a_reason_that_is_too_long_fails(client: Client) -> None:
    commands = Commands()
    async with client(app(operations(commands))) as http:
        long = await http.post("/api/v1/resume", headers=BEARER, json={"reason": 201 * "w"})
        assert long.status_code == 400
        assert "201 characters and 200 are published at most" in long.json()["error"]
        assert commands.received == []
        await http.post("/api/v1/resume", headers=BEARER, json={"reason": 200 * "w"})
    assert commands.received == [("resume", 200 * "w")]
