"""Percentiles from the buckets of the rollups. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

LARGEST_BUCKET = 24  # messages.ingest.rollups.bucket_of: 2**23 ms (two hours and twenty minutes) and more


def bounds_of(bucket: int) -> tuple[float, float]:
    """Return [low, high) of a bucket in ms: 0 is below 1 ms, n is [2**(n-1), 2**n); the last one has no end and is read as the others."""
    return (0.0, 1.0) if bucket <= 0 else (float(2 ** (bucket - 1)), float(2**bucket))


def percentile(counts: Mapping[int, int], share: float) -> float | None:
    """Return the duration in ms below which a share of what was counted lies, None when nothing was.

    counts   bucket → how many, each >= 0.   share  above 0 and at most 1, e.g. 0.95.
    Returns  a value in the bucket of the true one, so less than twice and more than half of it (below 1 ms: within 1 ms);
             the true one is the smallest of those counted with at least this share at or below it (nearest rank).
    Source   linear interpolation in a histogram, as Prometheus' histogram_quantile does it.
    """
    total = sum(counts.values())
    if total <= 0:
        return None
    rank, below = share * total, 0
    for bucket in sorted(counts):
        count = counts[bucket]
        if count > 0 and below + count >= rank:
            low, high = bounds_of(bucket)
            # Short of the end, or the largest of a bucket would be the smallest of the next one.
            return low + (high - low) * min(0.999, max(0.0, (rank - below) / count))
        below += count
    return None  # rounding: a share above 1


def merged(many: Iterable[Mapping[int, int]]) -> dict[int, int]:
    """Return the counts of several together: percentiles of a long time are read from its counts, never from shorter percentiles."""
    total: dict[int, int] = {}
    for counts in many:
        for bucket, count in counts.items():
            total[bucket] = total.get(bucket, 0) + count
    return total
