"""The refiner's settings and its key: what is accepted, and what an error says."""

from __future__ import annotations

from pathlib import Path

import pytest

from kamou.errors import ConfigurationError
from kamou.settings.config import load_settings
from kamou.settings.secrets import REFINER_KEY, Secret, read_secret

ON = {"KAMOU__REFINER__MODE": "required", "KAMOU__REFINER__MODEL": "judge-1"}
URL = "KAMOU__REFINER__URL"


@pytest.mark.parametrize(
    "url",
    [
        "https://llm.example/v1",
        "https://llm.example:8443",
        "http://127.0.0.1:11434/v1",
        "http://localhost:8000/v1",
        "http://[::1]:8000/v1",
    ],
)
def test_a_model_is_reached_over_https_or_on_this_machine(url: str) -> None:
    assert load_settings(None, {**ON, URL: url}).settings.refiner.url == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "llm.example/v1",
        "http://llm.example/v1",
        "http://127.0.0.1.evil.example/v1",
        "https://user:pass@llm.example/v1",
        "https://llm.example/v1?key=x",
        "https://llm.example/v1 ",
        "file:///etc/passwd",
    ],
)
def test_an_address_over_which_the_key_could_leak_is_invalid(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"refiner\.url .*expects https://"):
        load_settings(None, {**ON, URL: url})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("MODE", "on", "refiner.mode expects one of off, advisory, required, got 'on'"),
        ("WITHOUT_ANSWER", "approve", "expects one of refuse, pass, got 'approve'"),
        ("MODEL", " ", "mode required needs the name of a model, got ' '"),
        ("DEADLINE_S", "30", "deadline_s must be less than supervision.handler_deadline_s, got 30"),
        ("DEADLINE_S", "60", "deadline_s must be less than cycle.candidate_ttl_s, got 60 s"),
        ("DEADLINE_S", "0", "refiner.deadline_s must be between 1 and 300 s, got 0"),
        ("BUDGET_USD_PER_DAY", "-1", "must be between 0 and 10000 USD, got -1"),
        ("CONCURRENCY", "0", "refiner.concurrency must be between 1 and 64 calls, got 0"),
    ],
)
def test_an_invalid_setting_of_the_refiner_is_an_error_with_its_key_and_value(
    name: str, value: str, message: str
) -> None:
    given = {**ON, URL: "https://llm.example/v1", f"KAMOU__REFINER__{name}": value}
    with pytest.raises(ConfigurationError) as caught:
        load_settings(None, given)
    assert message in str(caught.value)


def test_a_refiner_that_is_off_needs_no_address_model_or_key(tmp_path: Path) -> None:
    refiner = load_settings(None, {REFINER_KEY: "not a key"}).settings.refiner
    assert (refiner.mode, refiner.url, refiner.model) == ("off", "", "")


def test_the_address_of_the_model_is_not_in_the_published_settings() -> None:
    one, other = (
        load_settings(None, {**ON, URL: url}) for url in ("https://a.example", "https://b.example")
    )
    assert one.digest == other.digest


@pytest.mark.parametrize("key", ["sk line\n", '"sk quoted"', "sk-\u2713"])
def test_a_key_that_no_header_may_have_is_an_error_without_the_key(key: str) -> None:
    given = {**ON, URL: "https://llm.example/v1", REFINER_KEY: key}
    with pytest.raises(ConfigurationError, match="KAMOU_REFINER_KEY: expects printable") as caught:
        load_settings(None, given)
    assert "sk" not in str(caught.value)


def test_a_secret_is_revealed_only_on_request() -> None:
    secret = read_secret({REFINER_KEY: "sk-1"}, REFINER_KEY)
    assert isinstance(secret, Secret)
    assert "sk-1" not in f"{secret} {secret!r} {secret.__reduce_ex__}"
    assert secret.reveal() == "sk-1"
    assert read_secret({}, REFINER_KEY) is None
