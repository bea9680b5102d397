"""The operator's bearer token: made at the first run, readable by its owner only."""

from __future__ import annotations

import hmac
import secrets
import stat
from pathlib import Path

from kamou.errors import ConfigurationError
from kamou.folder import write_atomically

TOKEN_BYTES = 32  # 256 bits of chance: not to be guessed


def load_token(path: Path) -> str:
    """The token in ``path``, made with mode 0600 when there is none.

    Raises:
        ConfigurationError: the file is empty, open to others, or cannot be read or made.
    """
    try:
        _make(path)
        mode = stat.S_IMODE(path.stat().st_mode)
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the operator's token {path} cannot be used: {error}") from error
    if mode & 0o077:
        raise ConfigurationError(
            f"the operator's token {path} can be read by others (mode {mode:04o});"
            f" remove it, and the next run makes a new one with mode 0600"
        )
    if not token:
        raise ConfigurationError(
            f"the operator's token {path} is empty; remove it, and the next run makes a new one"
        )
    return token


def token_matches(authorization: str, token: str) -> bool:
    """Whether the header is ``Bearer`` and this token, in time that does not tell how nearly."""
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(given.strip().encode(), token.encode())


def _make(path: Path) -> None:
    """Whole or not at all: a kill half-way must not leave a token that nobody has."""
    if not path.exists():
        write_atomically(path, secrets.token_urlsafe(TOKEN_BYTES) + "\n", mode=0o600)
