"""Verbs of the command line, one file per group; they import slow modules late."""
