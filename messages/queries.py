"""What alerts reads of messages: this is its only way in."""

# for breaches: what is wrong, whose it is, what was done meanwhile
from messages.troubles import (
    Done,
    Troubled,
    done_to_flows,
    flow_names,
    flows_of_agents,
    full_disks,
    names_of_visible_flows,
    overdue_replays,
    silent_agents,
    teams_of_flows,
    troubled_groups,
)

__all__ = [
    "Done",
    "Troubled",
    "done_to_flows",
    "flow_names",
    "flows_of_agents",
    "full_disks",
    "names_of_visible_flows",
    "overdue_replays",
    "silent_agents",
    "teams_of_flows",
    "troubled_groups",
]
