"""``Setting``: unit, description and accepted values of one setting."""

from __future__ import annotations

from decimal import Decimal

import attrs

from kamou.core.model import Bound


@attrs.frozen
class Setting:
    """Description of one setting; ``low`` and ``high`` are inclusive bounds."""

    key: str
    unit: str
    about: str  # completes "This is the ..."
    low: Bound = None
    high: Bound = None
    why: str = ""  # the product's reason for a bound; part of the error message
    choices: tuple[str, ...] = ()
    decides: bool = True  # False: it does not change a trade, and is left out of the digest

    def find_problem(self, value: object) -> str | None:
        """Return the condition that the value violates; None if it is valid."""
        if self.choices and value not in self.choices:
            return f"expects one of {', '.join(self.choices)}, got {value!r}"
        for item in value if isinstance(value, tuple) else (value,):
            number = isinstance(item, int | float | Decimal) and not isinstance(item, bool)
            if number and not self._allows(Decimal(str(item))):
                because = f" ({self.why})" if self.why else ""
                return f"must be {self.range_text()}, got {item}{because}"
        return None

    def _allows(self, number: Decimal) -> bool:
        above = self.low is None or number >= Decimal(self.low)
        return above and (self.high is None or number <= Decimal(self.high))

    def range_text(self) -> str:
        """Return the accepted values as text; empty if all are accepted."""
        if self.choices:
            return " | ".join(self.choices)
        unit = f" {self.unit}" if self.unit else ""
        if self.low is not None and self.high is not None:
            return f"between {self.low} and {self.high}{unit}"
        if self.low is not None:
            return f"at least {self.low}{unit}"
        return "" if self.high is None else f"at most {self.high}{unit}"
