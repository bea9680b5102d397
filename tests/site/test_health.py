"""Health of the public site, with one failure and one recovery per episode."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kamou.core.book.site_events import SiteFailed, SiteRecovered
from kamou.errors import SiteError
from kamou.site.health import STANDING_TICKS, SiteHealth, SiteState
from kamou.site.process_protocol import Heartbeat
from tests.site.sites import Recorder

BEAT = Heartbeat(
    requests=5,
    connections=2,
    accepted=3,
    refused=1,
    cut=0,
    failed=0,
    renders=4,
    memory_bytes=100,
    descriptors=9,
)
EVENT_LISTS = st.lists(
    st.one_of(
        st.sampled_from(["beat", "end", "silent", "start"]),
        st.integers(1, 2 * STANDING_TICKS),  # seconds that pass
    ),
    max_size=60,
)


class HealthMachine:
    """A site's health with a clock that the test sets."""

    def __init__(self) -> None:
        self.recorder = Recorder()
        self.seconds = 0
        self.health = SiteHealth(
            announce=self.recorder.lines.append,
            record=self.recorder.record,
            now_ms=lambda: 1_000 * self.seconds,
        )

    def apply(self, what: str | int) -> None:
        if isinstance(what, int):
            for _ in range(what):
                self.seconds += 1
                self.health.tick()
        elif what == "beat":
            self.health.record_heartbeat(BEAT)
        elif what == "end":
            self.health.record_end(SiteError("its process ended with exit code 1"))
        elif what == "silent":
            self.health.record_silence(4.0)
        else:
            self.health.record_start()


@given(EVENT_LISTS)
def test_failures_and_recoveries_alternate_and_a_recovery_is_at_least_a_minute_after_its_failure(
    events: list[str | int],
) -> None:
    machine = HealthMachine()
    for what in events:
        machine.apply(what)
    kinds = [type(event) for event in machine.recorder.events]
    pairs, rest = divmod(len(kinds), 2)
    assert kinds == [SiteFailed, SiteRecovered] * pairs + [SiteFailed] * rest
    assert len(machine.recorder.lines) == len(machine.recorder.events)
    for failed, recovered in zip(
        machine.recorder.events[::2], machine.recorder.events[1::2], strict=False
    ):
        assert isinstance(recovered, SiteRecovered)
        assert recovered.failed_at_ms == failed.at_ms
        assert recovered.at_ms - failed.at_ms >= STANDING_TICKS * 1_000


@given(EVENT_LISTS)
def test_counters_never_decrease_and_a_site_that_does_not_serve_is_degraded(
    events: list[str | int],
) -> None:
    machine = HealthMachine()
    before = machine.health.as_dict()
    for what in events:
        machine.apply(what)
        after = machine.health.as_dict()
        for counter in ("requests", "accepted", "refused", "failed", "renders", "troubles"):
            assert after[counter] >= before[counter]
        before = after
        serves = machine.health.state is SiteState.SERVING
        assert bool(machine.health.degraded()) is not serves


def test_the_counters_of_an_ended_process_are_added_to_those_of_the_next() -> None:
    machine = HealthMachine()
    for what in ("start", "beat", "end", "start", "beat"):
        machine.apply(what)
    found = machine.health.as_dict()
    assert (found["requests"], found["restarts"], found["troubles"]) == (10, 1, 1)
    assert (found["connections"], found["memory_bytes"]) == (2, 100)


def test_text_from_outside_in_an_error_is_one_printable_line() -> None:
    machine = HealthMachine()
    machine.health.record_end(SiteError("evil\x1b[2J\nresults: http://evil.example"))
    [line] = machine.recorder.lines
    assert line.isprintable()
    assert machine.health.degraded()[0].isprintable()
