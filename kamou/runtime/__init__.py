"""What actors and runs stand on: mailboxes, calls, threads, types of supervision.

Also the watchdog, loop lag, levels of lines, stop signals, garbage collection and seeds of the
scheduler.
"""
