"""The undocumented parts of hypercorn that `kamou/http/http11.py` relies on.

If a test here fails after a new version of hypercorn, read its `hypercorn/protocol/h11.py` and
`hypercorn/protocol/http_stream.py` beside `kamou/http/http11.py` and `kamou/http/connection.py`,
adapt those two, run `tests/http/`, and only then change the version here and in `pyproject.toml`.
"""

from __future__ import annotations

import inspect
import re
from importlib.metadata import version
from pathlib import Path

from hypercorn.events import Closed, RawData, Updated
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.http_stream import HTTPStream

READ_VERSION = "0.18.0"  # the version whose source was read
ROOT = Path(__file__).parents[2]


def test_the_installed_hypercorn_is_the_version_that_was_read_and_is_pinned() -> None:
    assert version("hypercorn") == READ_VERSION
    assert re.search(rf'"hypercorn\[trio\]=={READ_VERSION}"', (ROOT / "pyproject.toml").read_text())


def test_hypercorns_protocol_has_the_parameters_that_kamou_passes() -> None:
    assert list(inspect.signature(H11Protocol.__init__).parameters)[1:] == [
        "app",
        "config",
        "context",
        "task_group",
        "connection_state",
        "ssl",
        "client",
        "server",
        "send",
    ]
    assert list(inspect.signature(HTTPStream.__init__).parameters)[1:] == [
        "app",
        "config",
        "context",
        "task_group",
        "ssl",
        "client",
        "server",
        "send",
        "stream_id",
    ]


def test_hypercorns_protocol_has_the_methods_that_kamou_replaces_and_uses() -> None:
    for replaced in ("_handle_events", "stream_send"):
        assert inspect.iscoroutinefunction(getattr(H11Protocol, replaced))
    for kept in ("handle", "_maybe_recycle", "_close_stream"):
        assert inspect.iscoroutinefunction(getattr(H11Protocol, kept))
    recycle = inspect.getsource(H11Protocol._maybe_recycle)
    for relied_on in (
        "self.connection.start_next_cycle()",
        "self.can_read.set()",
        "self.context.terminated.is_set()",
        "self.send(Updated(idle=True))",
        "self.send(Closed())",
    ):
        assert relied_on in recycle


def test_hypercorns_stream_starts_the_application_through_its_task_group() -> None:
    handle = inspect.getsource(HTTPStream.handle)
    assert "self.task_group.spawn_app(" in handle
    assert handle.count("self.app_put(") == 3  # body, its end, disconnect: the queue holds them


def test_hypercorn_has_the_events_that_the_connection_handles() -> None:
    assert RawData(data=b"x").data == b"x"
    assert Updated(idle=True).idle is True
    assert Closed() == Closed()
