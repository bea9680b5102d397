"""Tests of the addresses that a run announces."""

from __future__ import annotations

from pathlib import Path

import pytest

from kamou.clock import SystemClock
from kamou.operator.listeners import OperatorListeners
from kamou.runs.service import Service
from kamou.runtime.supervision import SupervisorSpec
from kamou.settings.config import Settings, WebSettings

BOUND = OperatorListeners(
    spec=SupervisorSpec(id="operators", children=()), socket_path=None, tcp_port=8081, traffic={}
)


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_only_an_announced_ipv6_address_is_in_brackets(
    tmp_path: Path, host: str, shown: str
) -> None:
    lines: list[str] = []
    Service(
        settings=Settings(data_dir=tmp_path, web=WebSettings(host=host, operator_host=host)),
        fast_forward=True,
        replay=None,
        progress=lambda what, done, total: None,
        announce=lines.append,
        clock=SystemClock(),
    )._announce_addresses(8080, BOUND)
    assert lines == [
        f"results: http://{shown}:8080/results",
        f"operator: http://{shown}:8081/healthz",
    ]
