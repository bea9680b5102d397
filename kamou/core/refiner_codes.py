"""Closed sets of the refiner (T3): modes, reasons of a model, failures of a call."""

from __future__ import annotations

from enum import StrEnum


class RefinerMode(StrEnum):
    """The use of a language model by the refiner."""

    OFF = "off"  # no model is asked
    ADVISORY = "advisory"  # a model is asked after the candidates passed unchanged
    REQUIRED = "required"  # its verdicts apply, and it is asked before a candidate passes


class WithoutAnswer(StrEnum):
    """The treatment of a candidate without a valid answer, in the mode ``required``."""

    REFUSE = "refuse"
    PASS = "pass"


class AnswerForm(StrEnum):
    """The way in which a request asks for JSON, from the strictest on."""

    JSON_SCHEMA = "json_schema"
    TOOL = "tool"
    JSON_OBJECT = "json_object"


class RefinerReason(StrEnum):
    """Reasons that a model may give for its verdict."""

    NO_OBJECTION = "NO_OBJECTION"  # of an approval, and of no other verdict
    EDGE_TOO_SMALL = "EDGE_TOO_SMALL"
    REWARD_TOO_SMALL = "REWARD_TOO_SMALL"
    SIGNALS_DISAGREE = "SIGNALS_DISAGREE"
    TREND_AGAINST = "TREND_AGAINST"
    VOLATILITY_TOO_HIGH = "VOLATILITY_TOO_HIGH"
    DATA_DOUBTFUL = "DATA_DOUBTFUL"


class RefinerFailure(StrEnum):
    """Reasons why a candidate has no valid answer of the model."""

    # no request was sent
    BUDGET_EXHAUSTED = "REFINER_BUDGET_EXHAUSTED"
    NOT_JOURNALED = "REFINER_NOT_JOURNALED"
    RATE_PAUSE = "REFINER_RATE_PAUSE"
    UNREACHABLE = "REFINER_UNREACHABLE"
    TLS_INVALID = "REFINER_TLS_INVALID"
    # no complete response
    DEADLINE_PASSED = "REFINER_DEADLINE_PASSED"
    CONNECTION_LOST = "REFINER_CONNECTION_LOST"
    RESPONSE_TOO_LARGE = "REFINER_RESPONSE_TOO_LARGE"
    # the server refused the request
    KEY_REJECTED = "REFINER_KEY_REJECTED"
    MODEL_UNKNOWN = "REFINER_MODEL_UNKNOWN"
    RATE_LIMITED = "REFINER_RATE_LIMITED"
    FORMS_UNSUPPORTED = "REFINER_FORMS_UNSUPPORTED"
    REQUEST_REJECTED = "REFINER_REQUEST_REJECTED"
    SERVER_ERROR = "REFINER_SERVER_ERROR"
    # the response has no valid answer
    RESPONSE_INVALID = "REFINER_RESPONSE_INVALID"
    RESPONSE_IS_ERROR = "REFINER_RESPONSE_IS_ERROR"
    MODEL_DIFFERS = "REFINER_MODEL_DIFFERS"
    ANSWER_MISSING = "REFINER_ANSWER_MISSING"
    ANSWER_ELSEWHERE = "REFINER_ANSWER_ELSEWHERE"
    ANSWER_TRUNCATED = "REFINER_ANSWER_TRUNCATED"
    ANSWER_NOT_JSON = "REFINER_ANSWER_NOT_JSON"
    ANSWER_REPEATS_KEY = "REFINER_ANSWER_REPEATS_KEY"
    ANSWER_WRONG_FIELDS = "REFINER_ANSWER_WRONG_FIELDS"
    ANSWER_INCONSISTENT = "REFINER_ANSWER_INCONSISTENT"
    # the answer is valid, and too late
    CANDIDATE_EXPIRED = "REFINER_CANDIDATE_EXPIRED"


REFINER_MEANINGS: dict[str, str] = {
    RefinerReason.NO_OBJECTION: "the model has no objection",
    RefinerReason.EDGE_TOO_SMALL: "the model finds the signal too weak",
    RefinerReason.REWARD_TOO_SMALL: "the model finds the target too close for this stop",
    RefinerReason.SIGNALS_DISAGREE: "the model finds that the figures contradict each other",
    RefinerReason.TREND_AGAINST: "the model finds the trend against the candidate",
    RefinerReason.VOLATILITY_TOO_HIGH: "the model finds the volatility too high for this stop",
    RefinerReason.DATA_DOUBTFUL: "the model doubts the figures",
    RefinerFailure.BUDGET_EXHAUSTED: "too little of the day's budget is left for a call",
    RefinerFailure.NOT_JOURNALED: "the journal did not commit the reservation, so no call was made",
    RefinerFailure.RATE_PAUSE: "the server asked to wait after its rate limit, and the wait lasts",
    RefinerFailure.UNREACHABLE: "no connection to the model's server could be made",
    RefinerFailure.TLS_INVALID: "the certificate of the model's server is not valid, or TLS failed",
    RefinerFailure.DEADLINE_PASSED: "no complete answer came before the deadline",
    RefinerFailure.CONNECTION_LOST: "the connection ended before the response was complete",
    RefinerFailure.RESPONSE_TOO_LARGE: "the response is larger than its maximum",
    RefinerFailure.KEY_REJECTED: "the model's server rejected the key",
    RefinerFailure.MODEL_UNKNOWN: "the model's server does not know the model",
    RefinerFailure.RATE_LIMITED: "the rate limit of the model's server is reached",
    RefinerFailure.FORMS_UNSUPPORTED: "the server rejected the request in each form of answer",
    RefinerFailure.REQUEST_REJECTED: "the server rejected the request",
    RefinerFailure.SERVER_ERROR: "the model's server had an error",
    RefinerFailure.RESPONSE_INVALID: "the response is no valid chat completion",
    RefinerFailure.RESPONSE_IS_ERROR: "the response has status 200 and an error in its body",
    RefinerFailure.MODEL_DIFFERS: "another model answered than the one that was asked",
    RefinerFailure.ANSWER_MISSING: "the response has no answer, or a blank one",
    RefinerFailure.ANSWER_ELSEWHERE: "the answer stands in a field where it was not asked for",
    RefinerFailure.ANSWER_TRUNCATED: "the answer ended at its maximum length, or was filtered",
    RefinerFailure.ANSWER_NOT_JSON: "the answer is not exactly one JSON object",
    RefinerFailure.ANSWER_REPEATS_KEY: "the answer has a key twice",
    RefinerFailure.ANSWER_WRONG_FIELDS: "the answer has a missing, further or invalid field",
    RefinerFailure.ANSWER_INCONSISTENT: "verdict, size and reason of the answer contradict another",
    RefinerFailure.CANDIDATE_EXPIRED: "the candidate expired before the answer",
}
"""Meanings of reasons and failures, in words."""
