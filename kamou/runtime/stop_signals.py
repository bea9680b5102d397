"""The signals that start an orderly stop of a process."""

from __future__ import annotations

import signal


def list_stop_signals() -> tuple[signal.Signals, ...]:
    """Return SIGINT, SIGTERM, and SIGHUP unless this process ignores it.

    A terminal that closes sends SIGHUP. ``nohup`` makes a process ignore it, so that it outlives
    the terminal.
    """
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return (signal.SIGINT, signal.SIGTERM)
    return (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
