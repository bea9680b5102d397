"""Requests and answers beside those of the ``openai`` package, which writes the API's own.

The package is an oracle only: Kamou does not use it, because it repeats requests by itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import openai
import pydantic
import pytest
import trio
from openai.types.chat import ChatCompletion
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from kamou.core.refiner_codes import AnswerForm
from kamou.core.refining.prompt import RequestTerms, make_request
from tests.llm.model_server import KEY, Endpoint, connected, question, serving
from tests.refining_cases import APPROVAL, MODEL, completion, written

WITHIN_S = 20
FORMS_IN_ORDER = list(AnswerForm)
FORMS = pytest.mark.parametrize("form", FORMS_IN_ORDER)
LOGPROBS = pytest.mark.parametrize("logprobs", [False, True], ids=["plain", "logprobs"])


def body_of(form: AnswerForm, *, logprobs: bool) -> dict[str, Any]:
    terms = RequestTerms(model=MODEL, max_output_tokens=256, logprobs=logprobs)
    body = json.loads(make_request(question().prompt, form, terms))
    assert isinstance(body, dict)
    return body


def read_whole(adapter: pydantic.TypeAdapter[Any], body: dict[str, Any]) -> dict[str, Any]:
    """Return the body as the types read it; pydantic reads a sequence only when it is asked."""

    def read(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: read(each) for name, each in value.items()}
        return (
            value if isinstance(value, str | int | float | None) else [read(each) for each in value]
        )

    found = read(adapter.validate_python(body))
    assert isinstance(found, dict)
    return found


class Heard(Endpoint):
    """An endpoint that keeps path and headers of each request."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[tuple[str, Mapping[str, str]]] = []

    async def handle(self, request: Request) -> Response:
        self.requests.append((request.url.path, request.headers))
        return await super().handle(request)


@FORMS
@LOGPROBS
async def test_the_package_sends_the_same_body_to_the_same_path_with_the_same_key(
    form: AnswerForm, logprobs: bool
) -> None:
    body = body_of(form, logprobs=logprobs)
    endpoint = Heard()
    stricter = FORMS_IN_ORDER.index(form)

    async def answer(_request: Request) -> Response:
        if len(endpoint.bodies) <= stricter:  # Kamou asks in the stricter forms first
            return JSONResponse({"error": {"message": "no such form"}}, 400)
        return JSONResponse(completion(written(APPROVAL), form))

    endpoint.answer = answer
    with trio.fail_after(WITHIN_S):
        async with serving(endpoint) as port:
            async with connected(port, logprobs=logprobs) as ours:
                await ours.ask(question())
            async with openai.AsyncOpenAI(
                base_url=f"http://127.0.0.1:{port}/v1", api_key=KEY, max_retries=0
            ) as theirs:
                read = await theirs.chat.completions.create(**body)
    assert endpoint.bodies[stricter:] == [body, body]
    (our_path, our_headers), (their_path, their_headers) = endpoint.requests[stricter:]
    assert our_path == their_path == "/v1/chat/completions"
    for name in ("authorization", "content-type"):
        assert our_headers[name] == their_headers[name]
    assert read.model == MODEL


@FORMS
@LOGPROBS
def test_every_field_of_a_request_is_one_of_the_packages_types(
    form: AnswerForm, logprobs: bool
) -> None:
    body = body_of(form, logprobs=logprobs)
    adapter = pydantic.TypeAdapter[Any](CompletionCreateParamsNonStreaming)
    assert read_whole(adapter, body) == body  # an unknown field would be left out
    wrong_values: list[dict[str, Any]] = [
        {"messages": [{"role": "nobody"}]},
        {"max_tokens": "many"},
        {"tools": [{}]},
    ]
    for wrong in wrong_values:
        with pytest.raises(pydantic.ValidationError):
            read_whole(adapter, body | wrong)
    assert "colour" not in read_whole(adapter, body | {"colour": 1})


@FORMS
def test_the_package_reads_the_answers_of_the_tests_endpoint(form: AnswerForm) -> None:
    read = ChatCompletion.model_validate(completion(written(APPROVAL), form), strict=True)
    message = read.choices[0].message
    text = message.content
    if message.tool_calls:
        called = message.tool_calls[0]
        assert called.type == "function"
        text = called.function.arguments
    assert text is not None
    assert json.loads(text) == json.loads(written(APPROVAL))
    assert read.usage is not None


async def test_the_package_raises_for_the_error_that_a_rejected_form_gets() -> None:
    endpoint = Endpoint(JSONResponse({"error": {"message": "no such response_format"}}, 400))
    with trio.fail_after(WITHIN_S):
        async with (
            serving(endpoint) as port,
            openai.AsyncOpenAI(
                base_url=f"http://127.0.0.1:{port}/v1", api_key=KEY, max_retries=0
            ) as theirs,
        ):
            with pytest.raises(openai.BadRequestError):
                await theirs.chat.completions.create(
                    **body_of(AnswerForm.JSON_SCHEMA, logprobs=False)
                )
