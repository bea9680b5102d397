"""The client of an OpenAI-compatible chat completions API, over httpx.

It asks once in each form of answer, from the strictest on, until the server takes the form. It
repeats no request: any other failure is the outcome. The caller's cancellation is the only deadline
and closes the connection.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import attrs
import httpx
import trio

from kamou.core.refiner_codes import AnswerForm, RefinerFailure
from kamou.core.refining.budget import TokenPrices
from kamou.core.refining.calls import FORMS, Outcome, Question, fail, request_cost_max
from kamou.core.refining.prompt import RequestTerms, make_request
from kamou.core.refining.responses import Completion, read_completion, read_error
from kamou.settings.secrets import Secret

RESPONSE_BYTES_MAX = 262_144  # log probabilities of 1,000 tokens take about 100 KB
RATE_PAUSE_S_MAX = 3_600  # of a server's Retry-After
COMPLETIONS_PATH = "/chat/completions"


class TooLargeError(Exception):
    """A response is larger than ``RESPONSE_BYTES_MAX``, or compressed."""


@attrs.define(kw_only=True, eq=False)
class ChatClient:
    """A model behind one URL, which ``ask`` asks about a candidate.

    It remembers the form of answer that the server took last, and the wait that the server demanded
    with a rate limit.
    """

    _http: httpx.AsyncClient
    _terms: RequestTerms
    _prices: TokenPrices
    _first_form: int = attrs.field(init=False, default=0)  # index in ``FORMS``
    _paused_until_s: float = attrs.field(init=False, default=0.0)  # Trio time

    async def ask(self, question: Question) -> Outcome:
        """Ask about one candidate and return the outcome; raise for a defect only.

        A response without a valid usage costs its request's highest price; so does a request that
        may have arrived. A request costs nothing if the server answered it with status 4xx.
        """
        if trio.current_time() < self._paused_until_s:
            await trio.lowlevel.checkpoint()
            return fail(RefinerFailure.RATE_PAUSE)
        outcome = fail(RefinerFailure.FORMS_UNSUPPORTED)
        for index in range(self._first_form, len(FORMS)):
            before = outcome
            outcome = await self._send(question, FORMS[index])
            outcome = attrs.evolve(
                outcome,
                requests=before.requests + outcome.requests,
                cost_usd=before.cost_usd + outcome.cost_usd,
            )
            if outcome.completion.failure is not RefinerFailure.FORMS_UNSUPPORTED:
                if outcome.status == httpx.codes.OK:
                    self._first_form = index
                return outcome
        self._first_form = 0
        return outcome

    async def _send(self, question: Question, form: AnswerForm) -> Outcome:
        """Send one request and return its outcome."""
        body = make_request(question.prompt, form, self._terms)
        cost_max = request_cost_max(body, self._terms, self._prices)
        status = 0
        try:
            async with self._http.stream("POST", COMPLETIONS_PATH, content=body) as response:
                status = response.status_code
                received = await _read_body(response)
                self._note_pause(response)
        except (httpx.ConnectError, httpx.UnsupportedProtocol) as error:
            failure = (
                RefinerFailure.TLS_INVALID if _is_of_tls(error) else RefinerFailure.UNREACHABLE
            )
            outcome = fail(failure)
        except TooLargeError:
            outcome = fail(RefinerFailure.RESPONSE_TOO_LARGE, cost_max)
        except httpx.HTTPError:
            outcome = fail(RefinerFailure.CONNECTION_LOST, cost_max)
        else:
            outcome = self._read(status, received, form, cost_max)
        return attrs.evolve(outcome, form=form, requests=1, status=status)

    def _read(self, status: int, body: bytes, form: AnswerForm, cost_max: Decimal) -> Outcome:
        if status != httpx.codes.OK:
            free = 400 <= status < 500
            return fail(read_error(status, body), Decimal(0) if free else cost_max)
        found: Completion = read_completion(body, form, self._terms.model)
        if found.tokens_in is None or found.tokens_out is None:
            return Outcome(completion=found, cost_usd=cost_max)
        cost = self._prices.cost(found.tokens_in, found.tokens_out)
        return Outcome(completion=found, cost_usd=cost)

    def _note_pause(self, response: httpx.Response) -> None:
        """Keep the wait that a rate limit demands, at most ``RATE_PAUSE_S_MAX``."""
        given = response.headers.get("retry-after", "")
        if response.status_code == httpx.codes.TOO_MANY_REQUESTS and given.isascii():
            wait_s = min(int(given[:9]), RATE_PAUSE_S_MAX) if given.isdigit() else 0
            self._paused_until_s = max(self._paused_until_s, trio.current_time() + wait_s)


async def _read_body(response: httpx.Response) -> bytes:
    """Return the body, read in parts.

    Raises:
        TooLargeError: it is too large, or compressed, so that its size is not known.
        httpx.HTTPError: the connection ended before it was complete.
    """
    if response.headers.get("content-encoding", "identity") != "identity":
        raise TooLargeError
    body = bytearray()
    try:
        async for part in response.aiter_raw():
            body += part
            if len(body) > RESPONSE_BYTES_MAX:
                # Ends the loop by an error: httpx's generators are not closed by a break.
                await response.aclose()
    except httpx.HTTPError:
        if len(body) <= RESPONSE_BYTES_MAX:
            raise
    if len(body) > RESPONSE_BYTES_MAX:
        raise TooLargeError
    return bytes(body)


def _is_of_tls(error: BaseException | None) -> bool:
    """Return True if a TLS error is among the causes of an error."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False


@asynccontextmanager
async def open_client(
    *, url: str, key: Secret | None, terms: RequestTerms, prices: TokenPrices
) -> AsyncIterator[ChatClient]:
    """Open the client of the API below ``url``, such as ``https://host/v1``.

    It verifies certificates, follows no redirect and uses no proxy or other environment variable.
    The key, if given, is in the header of each request.
    """
    headers = {"content-type": "application/json", "accept-encoding": "identity"}
    if key is not None:
        headers["authorization"] = f"Bearer {key.reveal()}"
    async with httpx.AsyncClient(
        base_url=url,
        headers=headers,
        timeout=None,  # the caller cancels at its deadline
        # Each request has a new connection: a server may close an idle one at any time, and a
        # request on it would be lost.
        limits=httpx.Limits(max_keepalive_connections=0),
        trust_env=False,
        follow_redirects=False,
    ) as http:
        yield ChatClient(http=http, terms=terms, prices=prices)
