"""Events about many messages, as of a batch: no message's own, tied by a link to the event with which each was sent."""

# Whether the event e is about a message: by the whole primary key of the link, for each of the few events of the message.
# OFFSET 0: else PostgreSQL may think of hashing all links first.
TIED = """EXISTS (
    SELECT 1 FROM messaging_event sent JOIN messaging_trace_link l ON l.linked_trace_id = sent.trace_id AND l.linked_span_id = sent.span_id
    WHERE sent.message_uid = {message} AND l.trace_id = e.trace_id AND l.span_id = e.span_id AND l.occurred_at = e.occurred_at OFFSET 0)"""
