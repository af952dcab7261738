"""What a flow says about replays of its messages: the bounds of each setting. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from console.core.errors import Invalid

NAMES = (
    "replay_allowed",
    "replay_days",
    "most_replays",
    "replay_rate",
    "approve_above",
    "order_key",
    "supersede_key",
)
MOST_DAYS, MOST_REPLAYS, MOST_ABOVE, LONGEST_KEY = 3650, 100, 1_000_000, 64
SLOWEST, FASTEST = 0.01, 100_000.0
USUAL_REPLAYS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaySettings:
    """replay_allowed  whether its messages are replayed at all.   replay_days: older dead letters are left out of plans; None: none is too old.

    most_replays   of one message, all its deaths together.   replay_rate: most a second, all running plans together; None: no limit.
    approve_above  larger plans need a second person; 0: every plan; None: none does.
    order_key      business key whose messages keep their order in plans.   supersede_key: a newer one of it replaces older ones.
    """

    replay_allowed: bool = True
    replay_days: int | None = None
    most_replays: int = USUAL_REPLAYS
    replay_rate: float | None = None
    approve_above: int | None = None
    order_key: str = ""
    supersede_key: str = ""


def check_replay_settings(said: ReplaySettings) -> ReplaySettings:
    """Return the settings with clean keys; raise Invalid, in words, for what is out of its bounds."""
    if said.replay_days is not None and not 1 <= said.replay_days <= MOST_DAYS:
        raise Invalid(f"dead letters grow too old for a plan after 1 to {MOST_DAYS:,} days, or never")
    if not 1 <= said.most_replays <= MOST_REPLAYS:
        raise Invalid(f"a message is replayed at most 1 to {MOST_REPLAYS} times: forbid replays to have none")
    if said.replay_rate is not None and not SLOWEST <= said.replay_rate <= FASTEST:  # false of NaN, too
        raise Invalid(f"plans send {SLOWEST:g} to {FASTEST:,.0f} a second")
    if said.approve_above is not None and not 0 <= said.approve_above <= MOST_ABOVE:
        raise Invalid(f"a second person is needed above 0 to {MOST_ABOVE:,} messages, or never")
    return ReplaySettings(
        replay_allowed=said.replay_allowed,
        replay_days=said.replay_days,
        most_replays=said.most_replays,
        replay_rate=said.replay_rate,
        approve_above=said.approve_above,
        order_key=_key(said.order_key),
        supersede_key=_key(said.supersede_key),
    )


def _key(text: str) -> str:
    """Return the name of a business key, "" for none."""
    name = text.replace("\x00", "").strip()
    if len(name) > LONGEST_KEY:
        raise Invalid(f"the name of a business key has at most {LONGEST_KEY} characters")
    return name
