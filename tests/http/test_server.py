"""A server: start, stop, restart, and errors of its address."""

from __future__ import annotations

import errno
import socket
from typing import Any

import httpx
import pytest
import trio

from kamou.errors import ListenError
from kamou.http.server import Listener, Server, _explain_bind_error, bind, is_loopback
from tests.ports import find_port_for_two_uses


def make_application(text: bytes) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": text})

    return app


def listener(
    text: bytes = b"", *, host: str = "127.0.0.1", port: int = 0, operator: bool = False
) -> Listener:
    return Listener(
        app=make_application(text),
        host=host,
        port=port,
        setting="web.operator_port" if operator else "web.port",
        option="--operator-port" if operator else "--port",
    )


async def test_a_server_serves_from_its_start_until_its_stop() -> None:
    server = Server(listener(b"public"))
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            port = server.port
            assert port is not None
            async with httpx.AsyncClient() as http:
                answer = await http.get(f"http://127.0.0.1:{port}/")
            assert answer.text == "public"
            assert "server" not in answer.headers
            server.ask_to_stop()
    assert server.port is None
    with pytest.raises(OSError):  # noqa: PT011 - the text is the system's
        await trio.open_tcp_stream("127.0.0.1", port)


async def test_a_canceled_server_can_run_again_on_the_same_port() -> None:
    port = find_port_for_two_uses()
    server = Server(listener(b"public", port=port))
    for _ in range(2):
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            async with httpx.AsyncClient() as http:
                assert (await http.get(f"http://127.0.0.1:{port}/")).text == "public"
            nursery.cancel_scope.cancel()
        assert server.port is None


async def test_a_server_serves_a_given_socket_and_leaves_it_open() -> None:
    bound = bind(listener())
    server = Server(listener(b"public"), bound=bound)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        async with httpx.AsyncClient() as http:
            assert (await http.get(f"http://127.0.0.1:{server.bound_port}/")).text == "public"
        nursery.cancel_scope.cancel()
    assert bound.fileno() >= 0
    bound.close()


async def test_the_error_for_a_taken_port_names_port_setting_and_option() -> None:
    taken = bind(listener())
    port = taken.getsockname()[1]
    server = Server(listener(port=port, operator=True))
    with pytest.raises(ListenError) as caught:
        await server.run()
    taken.close()
    for part in (str(port), "taken", "web.operator_port", "--operator-port"):
        assert part in str(caught.value)
    assert server.port is None


async def test_the_error_for_an_address_of_another_machine_names_the_address() -> None:
    with pytest.raises(ListenError, match=r"192\.0\.2\.1"):
        bind(listener(host="192.0.2.1"))


@pytest.mark.parametrize(
    ("operator", "settings"),
    [(False, ("web.host", "web.port")), (True, ("web.operator_host", "web.operator_port"))],
)
def test_the_error_for_an_address_of_another_machine_names_the_settings_of_its_listener(
    operator: bool, settings: tuple[str, str]
) -> None:
    host, port = settings
    option = "--operator-port" if operator else "--port"
    wanted = f"correct {host}, or choose another port with {option} or {port}$"
    with pytest.raises(ListenError, match=wanted):
        bind(listener(host="192.0.2.1", operator=operator))


def test_the_error_for_a_privileged_port_says_that_it_needs_more_rights() -> None:
    error = OSError(errno.EACCES, "Permission denied")
    assert "needs more rights" in _explain_bind_error(listener(port=80), error)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.4", False),
        ("example.org", False),
    ],
)
def test_only_loopback_addresses_are_recognized_as_such(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_the_ipv6_loopback_is_bound_with_an_ipv6_socket() -> None:
    try:
        bound = bind(listener(host="::1"))
    except ListenError:
        pytest.skip("this machine has no IPv6 loopback")
    assert bound.family == socket.AF_INET6
    bound.close()
