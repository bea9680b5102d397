"""The first Ctrl-C of a verb that then ends its work and reports it."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType

from kamou.commands.printing import print_error_line


@contextlib.contextmanager
def catch_first_interrupt(announcement: str) -> Iterator[Callable[[], bool]]:
    """Yield a function that returns True after Ctrl-C, and then prints a line once.

    The line is ``announcement``.

    Only the first Ctrl-C is caught: a second one interrupts as usual. A process that ignores
    SIGINT, as in the background of a shell, goes on ignoring it. The function prints, and not the
    signal's handler, because a handler may run in the middle of another print.
    """
    before = signal.getsignal(signal.SIGINT)
    pressed = announced = False

    def remember(_number: int, _frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def is_pressed() -> bool:
        nonlocal announced
        if pressed and not announced:
            announced = True
            print_error_line(announcement)
        return pressed

    if before is signal.SIG_IGN:
        yield is_pressed
        return
    signal.signal(signal.SIGINT, remember)
    try:
        yield is_pressed
    finally:
        signal.signal(signal.SIGINT, before)
