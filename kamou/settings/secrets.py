"""Secrets: read from the environment, never shown, never stored."""

from __future__ import annotations

from collections.abc import Mapping

from kamou.errors import ConfigurationError

REFINER_KEY = "KAMOU_REFINER_KEY"
"""Variable with the key of the refiner's model. One underscore: it is no setting."""


class Secret:
    """A text that neither ``str`` nor ``repr`` shows."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return "Secret(***)"

    def reveal(self) -> str:
        """Return the text, for the one header or call that needs it."""
        return self._text


def read_secret(environ: Mapping[str, str], name: str) -> Secret | None:
    """Return the secret in an environment variable; None if it is missing or empty.

    Raises:
        ConfigurationError: the text has white space or is not printable ASCII. The message does not
            have the text.
    """
    text = environ.get(name, "")
    if not text:
        return None
    if not all("!" <= each <= "~" for each in text):
        raise ConfigurationError(
            f"{name}: expects printable ASCII without white space; set the variable again, without "
            "quotes or a line break"
        )
    return Secret(text)
