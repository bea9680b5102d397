"""The ranking of a cycle and its detail."""
