"""Whether a share among the failed is more than chance beside the same share among the delivered. Pure.

Sources: R. G. Newcombe, "Interval estimation for the difference between independent proportions", 1998, method 10 (Wilson's score intervals
joined); Fisher's exact test, one-sided; Bonferroni for the number of traits that were looked at.
"""

from __future__ import annotations

from math import exp, lgamma, sqrt

Z = 2.576  # 99 %
MOST_LIKELY_CHANCE = 0.01  # after Bonferroni: one trait in a hundred pages may be chance


def wilson(hits: int, of: int, z: float = Z) -> tuple[float, float]:
    """Return the interval in which the true share lies; (0, 1) of none. 0 <= hits <= of."""
    if of == 0:
        return 0.0, 1.0
    share, square = hits / of, z * z
    middle = share + square / (2 * of)
    spread = z * sqrt(share * (1 - share) / of + square / (4 * of * of))
    whole = 1 + square / of
    return max(0.0, (middle - spread) / whole), min(1.0, (middle + spread) / whole)


def least_difference(failed: int, of_failed: int, delivered: int, of_delivered: int, z: float = Z) -> float:
    """Return the lower bound of how much larger the share among the failed is, -1 to 1; above 0 it is larger, as far as the sample tells."""
    one, other = failed / of_failed if of_failed else 0.0, delivered / of_delivered if of_delivered else 0.0
    low, _ = wilson(failed, of_failed, z)
    _, high = wilson(delivered, of_delivered, z)
    return (one - other) - sqrt((one - low) ** 2 + (high - other) ** 2)


def chance(failed: int, of_failed: int, delivered: int, of_delivered: int) -> float:
    """Return how likely at least so many of the hits would fall among the failed if it were chance: Fisher's exact test, 0 to 1."""
    hits, total = failed + delivered, of_failed + of_delivered
    ways = _log_choose(total, of_failed)
    most = min(hits, of_failed)
    return min(
        1.0,
        sum(
            exp(_log_choose(hits, k) + _log_choose(total - hits, of_failed - k) - ways)
            for k in range(failed, most + 1)
            if of_failed - k <= total - hits
        ),
    )


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def is_more_than_chance(failed: int, of_failed: int, delivered: int, of_delivered: int, tried: int) -> bool:
    """Whether a share is larger among the failed beyond what looking at `tried` traits turns up by chance."""
    if failed * of_delivered <= delivered * of_failed:
        return False
    return chance(failed, of_failed, delivered, of_delivered) * max(1, tried) < MOST_LIKELY_CHANCE
