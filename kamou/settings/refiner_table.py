"""Rows of the settings table for the refiner (T3)."""

from __future__ import annotations

from kamou.core.refiner_codes import RefinerMode, WithoutAnswer
from kamou.settings.setting import Setting

_S = Setting

# A table: the formatter would give each argument a line of its own.
# fmt: off
REFINER_ROWS = (
    _S("refiner.mode", "",
       "use of a language model by the refiner (T3): off asks none, advisory asks after the "
       "candidates passed unchanged, required applies its verdicts; a backtest and a fast-forward "
       "ask none", choices=tuple(RefinerMode)),
    _S("refiner.without_answer", "",
       "treatment of a candidate without a valid answer, in the mode required",
       choices=tuple(WithoutAnswer)),
    _S("refiner.url", "",
       "address of an OpenAI-compatible API, to whose /chat/completions requests go; the key is in "
       "the environment variable KAMOU_REFINER_KEY, and in no setting", decides=False),
    _S("refiner.model", "", "name of the model, as its server spells it"),
    _S("refiner.input_usd_per_million", "USD per million tokens",
       "price of a prompt's tokens; set your provider's price", 0, 10_000),
    _S("refiner.output_usd_per_million", "USD per million tokens",
       "price of an answer's tokens; set your provider's price", 0, 10_000),
    _S("refiner.budget_usd_per_day", "USD",
       "maximum cost of all calls of a UTC day; each call's highest price is reserved before it",
       0, 10_000),
    _S("refiner.deadline_s", "s",
       "maximum time for all calls of a cycle; it is shorter if the candidates expire before",
       1, 300),
    _S("refiner.max_output_tokens", "tokens",
       "maximum length of an answer", 32, 16_384),
    _S("refiner.concurrency", "calls", "maximum number of calls at a time", 1, 64),
    _S("refiner.logprobs", "",
       "switch for log probabilities of the answer's tokens, of which the journal keeps a summary; "
       "some servers reject a request that asks for them"),
)
# fmt: on
