"""The settings of the refiner (T3) and their checks beyond the table's ranges."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal

import attrs

from kamou.core.refiner_codes import RefinerMode, WithoutAnswer
from kamou.settings.secrets import REFINER_KEY, Secret, read_secret

MODEL_URL = "expects https:// and a host, such as https://llm.example/v1; http:// only to loopback"
_HOST = r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?"
_LOOPBACK = r"127\.0\.0\.1|localhost|\[::1\]"
_MODEL_URL = re.compile(rf"(https://{_HOST}|http://({_LOOPBACK}))(:[0-9]{{1,5}})?(/[\w./-]*)?")


@attrs.frozen(kw_only=True)
class RefinerSettings:
    mode: RefinerMode = RefinerMode.OFF
    without_answer: WithoutAnswer = WithoutAnswer.REFUSE
    url: str = ""  # of the API; requests go to its /chat/completions
    model: str = ""
    # High, so that a price that nobody set ends the day's calls too early and not too late.
    input_usd_per_million: Decimal = Decimal(10)
    output_usd_per_million: Decimal = Decimal(30)
    budget_usd_per_day: Decimal = Decimal(2)
    deadline_s: int = 20  # for all calls of a cycle
    max_output_tokens: int = 256
    concurrency: int = 4
    logprobs: bool = False  # some servers reject a request that asks for them


def read_refiner_key(refiner: RefinerSettings, environ: Mapping[str, str]) -> Secret | None:
    """Return the key of the model's server; None without one, or in the mode off.

    Raises:
        ConfigurationError: the key has characters that no header may have.
    """
    if refiner.mode is RefinerMode.OFF:
        return None
    return read_secret(environ, REFINER_KEY)


def find_refiner_contradictions(
    refiner: RefinerSettings, shorter_than_s: dict[str, int]
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the keys and the violated condition of each failed check; none if off.

    ``shorter_than_s`` has the settings that must be longer than ``refiner.deadline_s``, in s.
    """
    if refiner.mode is RefinerMode.OFF:
        return
    if not _MODEL_URL.fullmatch(refiner.url):
        yield ("refiner.url",), f"{MODEL_URL}, got {refiner.url!r}"
    if not refiner.model.strip():
        yield (
            ("refiner.model", "refiner.mode"),
            f"mode {refiner.mode} needs the name of a model, got {refiner.model!r}",
        )
    for key, seconds in shorter_than_s.items():
        if refiner.deadline_s >= seconds:
            yield (
                ("refiner.deadline_s", key),
                f"deadline_s must be less than {key}, got {refiner.deadline_s} s and {seconds} s",
            )
