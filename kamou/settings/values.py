"""Conversion of settings' values, and checks of networks and of the public URL."""

from __future__ import annotations

import ipaddress
import re
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import get_args

EXPECTED: dict[object, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    Decimal: "a number",
    str: "text",
    Path: "a path",
    tuple[str, ...]: "a list of texts",
    tuple[int, ...]: "a list of whole numbers",
}

PUBLIC_URL = (
    "expects http:// or https:// and a host in lower case, such as https://kamou.example, "
    "without a path"
)
_PUBLIC_URL = re.compile(r"https?://[a-z0-9]([a-z0-9.-]{0,252}[a-z0-9])?(:[0-9]{1,5})?")


class Text(str):
    """A value from the environment, where values of every type are text."""


def convert_value(kind: object, raw: object) -> object | None:
    """Return ``raw`` as a value of type ``kind``; None if it cannot be one."""
    if isinstance(raw, Text):
        raw = _parse_text(kind, str(raw))
    if kind is str:
        return raw if isinstance(raw, str) else None
    if kind is Path:
        return expand_home(raw) if isinstance(raw, str | Path) and str(raw) else None
    if kind is bool:
        return raw if isinstance(raw, bool) else None
    if isinstance(raw, bool):
        return None
    if kind is int:
        return raw if isinstance(raw, int) else None
    if kind is float or kind is Decimal:
        number = _parse_number(raw, from_text=kind is Decimal)
        return float(number) if kind is float and number is not None else number
    item = get_args(kind)[0]
    if not isinstance(raw, list | tuple):
        return None
    items = tuple(convert_value(item, each) for each in raw)
    return None if None in items else items


def expand_home(path: str | Path) -> Path | None:
    """Return the path with ``~`` or ``~user`` expanded; None if the user is unknown.

    A shell expands ``~`` only at the start of a word, and so not in ``--json=~/report.json``.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return None


def _parse_number(raw: object, *, from_text: bool) -> Decimal | None:
    """Return ``raw`` as a finite Decimal; None if it is not one."""
    if isinstance(raw, str) and not from_text:
        return None
    if not isinstance(raw, int | float | Decimal | str):
        return None
    try:
        exact = Decimal(str(raw))
    except InvalidOperation:
        return None
    return exact if exact.is_finite() else None


def _parse_text(kind: object, text: str) -> object:
    """Return the text as a value of TOML; unchanged if it is not a ``kind``."""
    if kind is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    if kind in (int, float, Decimal):
        try:
            return int(text) if kind is int else Decimal(text)
        except (ValueError, InvalidOperation):
            return text
    if kind in (str, Path):
        return text
    return [
        _parse_text(get_args(kind)[0], part.strip()) for part in text.split(",") if part.strip()
    ]


def is_network(text: str) -> bool:
    """Return True if the text is an IP address or a network such as 10.0.0.0/8."""
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def is_public_url(text: str) -> bool:
    """Return True if the text is empty or an http(s) origin in lower case."""
    return not text or _PUBLIC_URL.fullmatch(text) is not None
