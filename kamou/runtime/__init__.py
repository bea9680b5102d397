"""Parts that actors use: mailboxes, calls, supervision types, threads, watchdog."""
