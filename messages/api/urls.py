"""Routes below /api/v1/, without a slash at the end."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import path, re_path
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.views import SpectacularAPIView

from console.core.errors import NotFound
from messages.api import (
    account,
    actions,
    agents,
    catalog,
    changes,
    figures,
    ingest,
    mappings,
    masking,
    people,
    retention,
    views,
)
from messages.api.docs import ApiDocs


@csrf_exempt  # a program with a key and a wrong address is told that, not that it lacks a cookie
def nothing_here(request: HttpRequest, path: str) -> HttpResponse:
    raise NotFound("there is no such REST address: see /api/v1/docs/")


urlpatterns = [
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
    path("docs/", ApiDocs.as_view(url_name="schema"), name="api-docs"),
    path("messages", views.Messages.as_view()),
    path("messages/<str:pk>", views.OneMessage.as_view()),
    path("events", views.Events.as_view()),
    path("events/<str:pk>", views.OneEvent.as_view()),
    path("events/<str:pk>/payload", views.EventPayload.as_view()),
    path("journeys", views.Journeys.as_view()),
    path("journeys/<str:trace_id>", views.OneJourney.as_view()),
    path("dead-letters", views.DeadLetters.as_view()),
    path("dead-letters/<str:pk>", views.OneDeadLetter.as_view()),
    path("dead-letters/<str:pk>/payload", views.DeadLetterPayload.as_view()),
    path("dead-letters/<str:pk>/replays", views.Replays.as_view()),
    path("dead-letters/<str:pk>/hints", actions.ReplayHints.as_view()),
    path("dead-letters/<str:pk>/replay", actions.ReplayDeadLetter.as_view()),
    path("dead-letters/<str:pk>/discard", actions.DiscardDeadLetter.as_view()),
    path("dead-letters/<str:pk>/restore", actions.RestoreDeadLetter.as_view()),
    path("replays/<str:pk>", views.OneReplay.as_view()),
    path("replays/<str:pk>/send-again", actions.SendAgain.as_view()),
    path("replays/<str:pk>/mark-processed", actions.MarkProcessed.as_view()),
    path("flows", catalog.Flows.as_view()),
    path("flows/<str:pk>", catalog.OneFlow.as_view()),
    path("flows/<str:pk>/figures", figures.FlowFigures.as_view()),
    path("flows/<str:pk>/systems", figures.FlowSystems.as_view()),
    path("environments", figures.Environments.as_view()),
    path("systems", catalog.Systems.as_view()),
    path("systems/<str:pk>", catalog.OneSystem.as_view()),
    path("changes", changes.Changes.as_view()),
    path("changes/<str:pk>", changes.OneChange.as_view()),
    path("changes/<str:pk>/end", changes.EndChange.as_view()),
    path("changes/<str:pk>/withdraw", changes.WithdrawChange.as_view()),
    path("harvest-files", catalog.HarvestFiles.as_view()),
    path("connections", catalog.Connections.as_view()),
    path("connections/<str:pk>", catalog.OneConnection.as_view()),
    path("connections/<str:pk>/test", catalog.TestConnection.as_view()),
    path("connections/<str:pk>/queues", catalog.ConnectionQueues.as_view()),
    path("connections/<str:pk>/discover", catalog.DiscoverQueues.as_view()),
    path("connections/<str:pk>/approve", catalog.ApproveConnection.as_view()),
    path("connections/<str:pk>/withdraw", catalog.WithdrawConnection.as_view()),
    path("connections/<str:pk>/secret", catalog.ConnectionSecret.as_view()),
    path("rules/destinations", figures.Destinations.as_view()),
    path("rules/flows", catalog.FlowRules.as_view()),
    path("rules/keys", catalog.KeyRules.as_view()),
    path("rules/masking", masking.MaskingRules.as_view()),
    path("rules/masking/preview", masking.PreviewMasking.as_view()),
    path("rules/masking/<str:pk>", masking.OneMaskingRule.as_view()),
    path("rules/masking/<str:pk>/move", masking.MoveMaskingRule.as_view()),
    re_path(r"^rules/(?P<kind>flows|keys)/(?P<pk>\d+)$", catalog.OneRule.as_view()),
    re_path(r"^rules/(?P<kind>flows|keys)/(?P<pk>\d+)/move$", catalog.MoveRule.as_view()),
    path("mappings", mappings.Mappings.as_view()),
    path("mappings/preview", mappings.PreviewMapping.as_view()),
    path("mappings/shipped", mappings.ShippedMappings.as_view()),
    path("mappings/<str:pk>", mappings.OneMapping.as_view()),
    path("agents", agents.Agents.as_view()),
    path("agents/<str:pk>", agents.OneAgent.as_view()),
    path("agents/<str:pk>/clocks", agents.AgentClocks.as_view()),
    path("agents/<str:pk>/keys", agents.AgentKeys.as_view()),
    path("agents/<str:pk>/keys/<str:key>", agents.OneAgentKey.as_view()),
    path("teams", people.Teams.as_view()),
    path("teams/<str:pk>/members", people.Members.as_view()),
    path("members/<str:pk>", people.OneMember.as_view()),
    path("users", people.Users.as_view()),
    path("account", account.Account.as_view()),
    path("account/password", account.Password.as_view()),
    path("ingest", ingest.Ingest.as_view()),
    path("rejects", ingest.Rejects.as_view()),
    path("rejects/<str:pk>", ingest.OneReject.as_view()),
    path("rejects/<str:pk>/text", ingest.RejectBody.as_view()),
    path("rejects/<str:pk>/resubmit", ingest.Resubmit.as_view()),
    path("rejects/<str:pk>/dismiss", ingest.Dismiss.as_view()),
    path("retention", retention.Retention.as_view()),
    path("retention/preview", retention.Preview.as_view()),
    path("retention/plan", retention.DryRun.as_view()),
    path("retention/holds", retention.Holds.as_view()),
    path("retention/holds/<str:pk>", retention.OneHold.as_view()),
    path("audit", views.Audit.as_view()),
    path("audit/<str:pk>", views.OneAuditEntry.as_view()),
    re_path(r"^(?P<path>.*)$", nothing_here),
]
