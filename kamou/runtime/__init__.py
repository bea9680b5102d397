"""Foundations of actors: mailboxes, calls, supervision types, threads, watchdog."""
