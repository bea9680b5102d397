"""The real and the simulated process fulfil the same contract."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
from trio.testing import MockClock

from kamou.core.kinds import RunMode
from kamou.http.limits import Limits
from kamou.simulator.simulated_site import Fate, Script, SimulatedSites
from kamou.site.port import Launch
from kamou.site.process_protocol import SiteHandover
from kamou.site.process_start import make_launcher
from tests.site.site_contract import Bench, SiteProcessContract

HANDOVER = SiteHandover(
    database="absent.sqlite3",
    socket=0,
    mode=RunMode.DEMO,
    currency="USDT",
    gate="assumed",
    pricing_markdown="",
    nice=0,
    memory_max_bytes=0,
    descriptors_max=256,
    render_max_s=30,
    heartbeat_s=0.5,
    limits=Limits(),
)


class RealProcesses:
    """Real processes of a program with the given fate."""

    def launch(self, fate: Fate) -> Launch:
        program = Path(__file__).with_name("fated_child.py")
        command = [sys.executable, "-P", str(program), fate.value]
        if fate is Fate.IS_REFUSED:
            command = [str(program.with_name("absent"))]
        read_end, _ = self._pipe
        return make_launcher(attrs.evolve(HANDOVER, socket=read_end), command)

    def __init__(self) -> None:
        self._pipe = os.pipe()

    def close(self) -> None:
        for descriptor in self._pipe:
            os.close(descriptor)


class SimulatedProcesses:
    def launch(self, fate: Fate) -> Launch:
        return SimulatedSites(lambda: Script(fate=fate)).launch


class TestRealProcess(SiteProcessContract):
    @pytest.fixture
    def bench(self) -> Iterator[Bench]:
        processes = RealProcesses()
        yield processes
        processes.close()

    @pytest.fixture
    def clock(self) -> None:
        return None


class TestSimulatedProcess(SiteProcessContract):
    @pytest.fixture
    def bench(self) -> Bench:
        return SimulatedProcesses()

    @pytest.fixture
    def clock(self) -> MockClock:
        return MockClock(autojump_threshold=0)
