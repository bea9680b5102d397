"""Encoding and decoding of handover and heartbeats, and the child's environment."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kamou.core.kinds import RunMode
from kamou.errors import ConfigurationError
from kamou.http.limits import Limits
from kamou.site.process_protocol import (
    HANDOVER_BYTES_MAX,
    HEARTBEAT_BYTES,
    PRICING_BYTES_MAX,
    Heartbeat,
    SiteHandover,
    decode_handover,
    decode_heartbeat,
    encode_handover,
    encode_heartbeat,
    read_pricing,
)
from kamou.site.process_start import child_command, child_environment

NUMBERS = st.integers(0, 2**63 - 1)
BEATS = st.builds(Heartbeat, **{field.name: NUMBERS for field in attrs.fields(Heartbeat)})
HANDOVERS = st.builds(
    SiteHandover,
    database=st.text(st.characters(codec="utf-8"), max_size=50),
    socket=st.integers(0, 1_000),
    mode=st.sampled_from(list(RunMode)),
    currency=st.just("USDT"),
    gate=st.just("assumed"),
    pricing_markdown=st.text(st.characters(codec="utf-8"), max_size=50),
    nice=st.integers(0, 19),
    memory_max_bytes=st.integers(0, 2**40),
    descriptors_max=st.integers(128, 2**20),
    render_max_s=st.floats(1, 1e6),
    heartbeat_s=st.floats(0.1, 10),
    limits=st.just(Limits(trusted_proxies=("10.0.0.0/8",))),
)


@given(BEATS)
def test_a_heartbeat_has_a_fixed_size_and_is_decoded_unchanged(beat: Heartbeat) -> None:
    frame = encode_heartbeat(beat)
    assert len(frame) == HEARTBEAT_BYTES < 512, "PIPE_BUF is at least 512, so it is written whole"
    assert decode_heartbeat(frame) == beat


@given(st.binary(max_size=2 * HEARTBEAT_BYTES))
def test_other_bytes_are_not_decoded_as_a_heartbeat(frame: bytes) -> None:
    assert decode_heartbeat(frame) is None


def test_a_heartbeat_number_out_of_range_is_limited_to_the_range() -> None:
    sizes = dict.fromkeys((field.name for field in attrs.fields(Heartbeat)), 0)
    odd = Heartbeat(**{**sizes, "requests": 2**70, "connections": -3})
    found = decode_heartbeat(encode_heartbeat(odd))
    assert found is not None
    assert (found.requests, found.connections) == (2**63 - 1, 0)


@given(HANDOVERS)
def test_a_handover_is_one_line_and_is_decoded_unchanged(handover: SiteHandover) -> None:
    line = encode_handover(handover)
    assert line.count(b"\n") == 1
    assert decode_handover(line) == handover


@pytest.mark.parametrize("line", [b"", b"\n", b"{}", b"[]", b'{"database":1}', b"\xff"])
def test_another_line_is_not_decoded_as_a_handover(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_handover(line)


def test_a_pricing_page_of_the_longest_size_is_read_and_a_longer_one_is_an_error(
    tmp_path: Path,
) -> None:
    file = tmp_path / "pricing.md"
    file.write_text("\x01" * PRICING_BYTES_MAX, encoding="utf-8")  # six bytes each in JSON
    assert len(read_pricing(str(file))) == PRICING_BYTES_MAX
    file.write_text("x" * (PRICING_BYTES_MAX + 1), encoding="utf-8")
    with pytest.raises(ConfigurationError, match="longer than 256 KB"):
        read_pricing(str(file))
    assert PRICING_BYTES_MAX < HANDOVER_BYTES_MAX


def test_the_childs_environment_has_only_allowed_variables_and_no_secret() -> None:
    environ = {
        "PATH": "/bin",
        "LC_ALL": "C",
        "TZ": "UTC",
        "PYTHONPATH": "src",
        "COVERAGE_PROCESS_CONFIG": "x",
        "KAMOU__EXCHANGE__API_KEY": "secret",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "HOME": "/nowhere",
        "LD_PRELOAD": "evil.so",
        "PYTHONSTARTUP": "evil.py",
    }
    given = child_environment(environ)
    assert "secret" not in given.values()
    assert set(given) == {
        "PATH",
        "LC_ALL",
        "TZ",
        "PYTHONPATH",
        "COVERAGE_PROCESS_CONFIG",
        "MALLOC_ARENA_MAX",
        "OPENBLAS_NUM_THREADS",
    }


def test_the_childs_command_has_the_option_against_imports_from_the_working_directory() -> None:
    assert child_command()[1:3] == ["-P", "-m"]
