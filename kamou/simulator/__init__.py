"""The deterministic simulator: the production system on a simulated clock, at a hostile venue."""
