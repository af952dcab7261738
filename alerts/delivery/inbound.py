"""`/ingest/v1/alertmanager`: alerts of Alertmanager and Grafana, so that they join the timeline of a flow. Apart from the way of events."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse

from alerts.delivery.external import Heard, NotAWebhook, read_webhook
from console.identity.models import Agent
from messages.ingest.api import ingest_endpoint, refuse_with_problem
from messages.ingest.http import Malformed, finish, receive
from messages.models import Flow

# An occurrence that is over stays over: a delayed "firing" of it changes nothing. The last word wins otherwise.
STORE = """
INSERT INTO alerts_externalalert AS a
    (environment_id, agent_id, flow_id, fingerprint, status, name, severity, summary, starts_at, ends_at, labels, annotations, url, received_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s::jsonb, %s::jsonb, %s, %s)
ON CONFLICT ON CONSTRAINT external_alert_once_per_occurrence DO UPDATE SET
    agent_id = excluded.agent_id, flow_id = coalesce(excluded.flow_id, a.flow_id), status = excluded.status, ends_at = excluded.ends_at,
    name = excluded.name, severity = excluded.severity, summary = excluded.summary, labels = excluded.labels,
    annotations = excluded.annotations, url = excluded.url, received_at = excluded.received_at
WHERE a.status = 'firing' OR excluded.status = 'resolved'
"""


@ingest_endpoint("alertmanager", refuse_with_problem)
def alertmanager(request: HttpRequest) -> HttpResponse:
    """Store what the webhook tells; answers {"accepted", "rejected": [{"index", "detail"}]}. The same again changes nothing."""
    agent, body = receive(request, media_types=frozenset({"application/json"}))
    try:
        heard, refused = read_webhook(body.data, now=datetime.now(UTC))
    except NotAWebhook as error:
        raise Malformed(str(error)) from error
    store_alerts(agent, heard)
    finish(agent, body, len(heard))
    rejected = [{"index": one.index, "detail": one.detail} for one in refused]
    return JsonResponse({"accepted": len(heard), "rejected": rejected})


@transaction.atomic
def store_alerts(agent: Agent, heard: Sequence[Heard]) -> None:
    """Write what was heard, in one order, so that two requests with the same alerts do not wait for each other in a circle."""
    named = {one.labels["flow"] for one in heard if one.labels.get("flow")}
    flows = (
        dict(Flow.objects.filter(environment_id=agent.environment_id, name__in=named).values_list("name", "pk"))
        if named
        else {}
    )
    now = datetime.now(UTC)
    rows = [
        (
            agent.environment_id, agent.pk, flows.get(one.labels.get("flow", "")), one.fingerprint, "resolved" if one.ends_at else "firing",
            one.name, one.severity, one.summary, one.starts_at, one.ends_at, json.dumps(one.labels), json.dumps(one.annotations), one.url, now,
        )
        for one in sorted(heard, key=lambda one: (one.fingerprint, one.starts_at))
    ]  # fmt: skip
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(STORE, rows)
