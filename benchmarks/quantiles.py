"""Quantiles of measured times."""

from __future__ import annotations


def quantiles_us(taken: list[int]) -> dict[str, float]:
    """Return median, 99th percentile and count of nanoseconds, in microseconds."""
    ordered = sorted(taken)
    last = len(ordered) - 1
    p50, p99 = ordered[int(0.5 * last)] / 1000, ordered[int(0.99 * last)] / 1000
    return {"p50": round(p50, 1), "p99": round(p99, 1), "count": len(ordered)}
