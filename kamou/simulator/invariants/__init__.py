"""The invariants that every simulation must keep.

The numbers are those of ``docs/reliability.md``. ``monitor`` feeds the invariants with committed
events, sent orders, records of the venue's audit log, exits of actors and the end.

1. ``permits``.
2. ``client_order_ids``; ``kamou/venue/checker.py`` checks that the venue accepts none twice.
3. Protection: ``kamou/venue/checker.py``, with the allowances of ``venue_records``.
4. ``promised_risk`` at each permit; ``entry_inputs`` at each sent entry; the venue's checkers, with
   the allowances of ``venue_records``, at each fill.
5. ``position_size``; ``kamou/venue/checker.py`` checks reduce-only fills.
6. ``agreement`` of book and venue.
7. ``explained_money`` in the journal; ``kamou/venue/checker.py`` at the venue.
8. ``committed_events``.
9. None: it belongs to a public log that does not exist yet.
10. ``halts`` and ``day_loss``.
11. ``crashes``.
12. ``activity``.
13. ``site_record``; ``site_faults`` checks that the site serves again.
14. ``verdicts``.
15. ``earned_sizes``, with the figures of ``gate_arithmetic`` and ``change_figures``.
16. ``gathered_windows``.

``time_limits`` and ``resting_entries`` have no number. ``observed`` has the state that several
invariants read, and ``outside_changes`` has the changes that the system cannot know yet.
"""
