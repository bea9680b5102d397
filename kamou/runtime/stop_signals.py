"""The signals that stop a process in order."""

from __future__ import annotations

import signal


def open_stop_signals() -> tuple[signal.Signals, ...]:
    """Return SIGINT, SIGTERM, and SIGHUP unless whoever started this process ignores it.

    A terminal that closes sends SIGHUP. ``nohup`` ignores it, so that the process outlives the
    terminal.
    """
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return (signal.SIGINT, signal.SIGTERM)
    return (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
