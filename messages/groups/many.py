"""Events about many messages, as of a batch: no message's own, tied by a link to the event with which each was sent."""

# Of a message m, those that failed as it failed first. By their time, in an index of what failed; tied to it by the whole primary key of the link
# to one of its few events, or by its trace where its sender told nothing. OFFSET 0: else PostgreSQL may think of reading all links first.
FAILED_OF_MANY = """(
    SELECT * FROM (
        SELECT * FROM messaging_event WHERE environment_id = m.environment_id AND occurred_at = m.failed_at AND outcome = 2 AND message_uid IS NULL OFFSET 0
    ) e WHERE e.trace_id = m.trace_id OR EXISTS (
        SELECT 1 FROM messaging_event sent JOIN messaging_trace_link l ON l.linked_trace_id = sent.trace_id AND l.linked_span_id = sent.span_id
        WHERE sent.message_uid = m.id AND l.trace_id = e.trace_id AND l.span_id = e.span_id AND l.occurred_at = e.occurred_at OFFSET 0)
)"""
