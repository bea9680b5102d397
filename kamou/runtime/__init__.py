"""Mailboxes, calls, runners, types of supervision and further tools of a run.

The further tools are the watchdog, loop lag, levels of lines, stop signals, garbage collection and
seeds of the scheduler.
"""
