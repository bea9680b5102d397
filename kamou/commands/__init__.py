"""The verbs of the command line, a file for each group. Heavy imports stand inside the verbs."""
