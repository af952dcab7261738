"""Why a dead letter of the selection is not sent by a plan. Pure; the order is that of looking: the first that holds is told."""

from __future__ import annotations

LEFT_OUT = {
    "not_yours": "only operators of its flow may replay it",
    "closed": "it is closed already",
    "under_way": "a replay of it is under way",
    "in_plan": "it is in another plan",
    "flow_forbids": "its flow forbids replays",
    "processed": "its message was processed since",
    "superseded": "a newer message with the same key was processed since",
    "attempt_cap": "it was replayed as often as its flow allows",
    "expired": "it is older than its flow allows",
    "no_payload": "its body is not stored",
    "masked": "its body or headers were masked before they were stored",
    "no_origin": "it is not known where it came from",
    "no_connection": "no connection is named like the broker it came from",
    "not_approved": "the connection to its broker is not approved",
    # of a plan that compensates
    "no_book": "its flow has no compensation book",
    # found while the plan runs
    "not_open": "it was not open any more when its turn came",
    "nothing_to_undo": "nothing of it had happened, or all was undone already",
    "being_undone": "a compensation of it is open already",
    "book_changed": "its flow's compensation book was changed since",
    "needs_second": "its compensation book asks for a second person since",
    "not_proposed": "its compensation could not be started, for a reason of its own",
}
