"""Reports of the public site: one begin and one end per episode, whatever happens between."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from sites import Told

from kamou.core.book.site_events import SiteFailed, SiteRecovered
from kamou.errors import SiteError
from kamou.site.health import STANDING_TICKS, SiteHealth, SiteState
from kamou.site.process_protocol import Heartbeat

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
HAPPENINGS = st.lists(
    st.one_of(
        st.sampled_from(["beat", "end", "silent", "start"]),
        st.integers(1, 2 * STANDING_TICKS),  # seconds that pass
    ),
    max_size=60,
)


class Machine:
    """A health with a clock that a test turns."""

    def __init__(self) -> None:
        self.told = Told()
        self.seconds = 0
        self.health = SiteHealth(
            announce=self.told.lines.append,
            record=self.told.record,
            now_ms=lambda: 1_000 * self.seconds,
        )

    def happen(self, what: str | int) -> None:
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


@given(HAPPENINGS)
def test_failures_and_recoveries_alternate_and_a_recovery_has_stood_for_a_minute(
    happenings: list[str | int],
) -> None:
    machine = Machine()
    for what in happenings:
        machine.happen(what)
    kinds = [type(event) for event in machine.told.events]
    pairs, rest = divmod(len(kinds), 2)
    assert kinds == [SiteFailed, SiteRecovered] * pairs + [SiteFailed] * rest
    assert len(machine.told.lines) == len(machine.told.events)
    for failed, recovered in zip(machine.told.events[::2], machine.told.events[1::2], strict=False):
        assert isinstance(recovered, SiteRecovered)
        assert recovered.failed_at_ms == failed.at_ms
        assert recovered.at_ms - failed.at_ms >= STANDING_TICKS * 1_000


@given(HAPPENINGS)
def test_counters_never_fall_and_a_site_is_degraded_unless_it_serves(
    happenings: list[str | int],
) -> None:
    machine = Machine()
    before = machine.health.as_dict()
    for what in happenings:
        machine.happen(what)
        after = machine.health.as_dict()
        for counter in ("requests", "accepted", "refused", "failed", "renders", "troubles"):
            assert after[counter] >= before[counter]
        before = after
        serves = machine.health.state is SiteState.SERVING
        assert bool(machine.health.degraded()) is not serves


def test_the_counters_of_an_ended_process_are_kept() -> None:
    machine = Machine()
    for what in ("start", "beat", "end", "start", "beat"):
        machine.happen(what)
    found = machine.health.as_dict()
    assert (found["requests"], found["restarts"], found["troubles"]) == (10, 1, 1)
    assert (found["connections"], found["memory_bytes"]) == (2, 100)


def test_text_of_a_stranger_in_an_error_is_one_printable_line() -> None:
    machine = Machine()
    machine.health.record_end(SiteError("evil\x1b[2J\nresults: http://evil.example"))
    [line] = machine.told.lines
    assert line.isprintable()
    assert machine.health.degraded()[0].isprintable()
