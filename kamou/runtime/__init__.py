"""What actors stand on: mailboxes, calls, child specifications, watchdog, threads, loop."""
