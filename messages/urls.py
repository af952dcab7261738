"""Pages and REST routes of messaging. One line a route; a slice owns the view behind it."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path

from messages.automatic import views as automatic
from messages.catalog import views as catalog
from messages.catalog import views_connect as connecting
from messages.catalog import views_redrive as redriving
from messages.catalog import views_settings as settings
from messages.changes import views as changes
from messages.compare.views import compare
from messages.compensation import views as compensation
from messages.compensation import views_book as compensation_book
from messages.compensation import views_lists as compensation_lists
from messages.compensation import views_new as compensating
from messages.dead_letters import selected
from messages.dead_letters import views as letters
from messages.different.views import different, different_in_group
from messages.figures import views as figures
from messages.groups import views as groups
from messages.groups import views_rules as grouping
from messages.groups.views_split import split
from messages.ingest import api as ingest
from messages.ingest import views as watch
from messages.ingest.gone import gone
from messages.ingest.heartbeat import heartbeat
from messages.journeys import views as journeys
from messages.journeys import views_links as links
from messages.mappings import views as mapping
from messages.masking import views as masking
from messages.orders import endpoints as replay_orders
from messages.orders import views as two_way
from messages.plans import views as plans
from messages.plans import views_edits as plan_edits
from messages.plans import views_how as plan_how
from messages.plans import views_new as planning
from messages.plans import views_stops as stops
from messages.plans.views_recipes import recipe
from messages.reconcile import views as reconcile
from messages.reconcile import views_checks as reconcile_checks
from messages.retention import views as retention
from messages.saved import tabs as saved_tabs
from messages.saved import views as saved
from messages.schemas import views as schema
from messages.search import views as search
from messages.search.completing import completions
from messages.topology import views as topology

# pages -------------------------------------------------------------------------------------------------------------
urlpatterns: list[URLPattern | URLResolver] = [
    path("messages/", search.messages, name="messages"),
    path("search/completions", completions, name="completions"),
    path("messages/<uuid:pk>/", journeys.message, name="message"),
    path("m/<path:message_id>", links.by_message_id, name="m"),
    path("j/<path:trace_id>", journeys.journey, name="j"),
    path("k/<str:name>/<path:value>", links.by_key, name="k"),
    path("compare/", compare, name="compare"),
    path("dead-letters/", letters.dead_letters, name="dead-letters"),
    path("dead-letters/selected/", selected.selected, name="dead-letters-selected"),
    path("dead-letters/<uuid:pk>/", letters.dead_letter, name="dead-letter"),
    path("dead-letters/<uuid:pk>/different/", different, name="dead-letter-different"),
    path("dead-letters/<uuid:pk>/hints/", letters.hints, name="dead-letter-hints"),
    path("dead-letters/<uuid:pk>/edit/", plan_edits.edit_letter, name="dead-letter-edit"),
    path("plans/<str:reference>/edit/", plan_edits.edit, name="plan-edit"),
    path("plans/<str:reference>/edit/destination/", plan_edits.redirect, name="plan-redirect"),
    *(
        path(f"dead-letters/<uuid:pk>/{action}/", letters.act, {"action": action}, name=f"dead-letter-{action}")
        for action in letters.ACTIONS
    ),
    path("groups/", groups.groups, name="groups"),
    path("groups/rules/", grouping.rules, name="group-rules"),
    path("groups/rules/new/", grouping.new, name="group-rule-new"),
    path("groups/rules/apply/", grouping.apply, name="group-rules-apply"),
    path("groups/rules/<int:pk>/", grouping.one, name="group-rule"),
    path("groups/rules/<int:pk>/change/", grouping.act, name="group-rule-change"),
    path("groups/<str:reference>/", groups.group, name="group"),
    path("groups/<str:reference>/letters/", groups.letters, name="group-letters"),
    path("groups/<str:reference>/different/", different_in_group, name="group-different"),
    path("groups/<str:reference>/split/", split, name="group-split"),
    path("groups/<str:reference>/recipe/", recipe, name="group-recipe"),
    *(
        path(f"groups/<str:reference>/{action}/", groups.act, {"action": action}, name=f"group-{action}")
        for action in groups.ACTIONS
    ),
    path("replay-rules/", automatic.rules, name="replay-rules"),
    path("replay-rules/new/", automatic.new, name="replay-rule-new"),
    path("replay-rules/off/", automatic.all_off, name="replay-rules-off"),
    path("replay-rules/<int:pk>/", automatic.one, name="replay-rule"),
    *(
        path(f"replay-rules/<int:pk>/{action}/", automatic.act, {"action": action}, name=f"replay-rule-{action}")
        for action in ("on", "off", "remove")
    ),
    path("plans/", plans.plans, name="plans"),
    path("plans/new/", planning.new, name="plan-new"),
    path("plans/stops/", stops.stops, name="plan-stops"),
    path("plans/stops/<int:pk>/lift/", stops.lift, name="plan-stop-lift"),
    path("plans/<str:reference>/", plans.plan, name="plan"),
    path("plans/<str:reference>/how/", plan_how.how, name="plan-how"),
    path("plans/<str:reference>/now/", plans.now, name="plan-now"),
    path("plans/<str:reference>/chart/", plans.chart, name="plan-chart"),
    path("plans/<str:reference>/csv", plans.csv, name="plan-csv"),
    *(
        path(f"plans/<str:reference>/{action}/", plans.act, {"action": action}, name=f"plan-{action}")
        for action in plans.ACTIONS
    ),
    path("compensations/", compensation_lists.compensations, name="compensations"),
    path("compensations/csv", compensation_lists.csv, name="compensations-csv"),
    path("compensations/new/", compensating.new, name="compensation-new"),
    path("compensations/<str:reference>/", compensation.compensation, name="compensation"),
    path("compensations/<str:reference>/now/", compensation.now, name="compensation-now"),
    *(
        path(
            f"compensations/<str:reference>/{action}/",
            compensation.act,
            {"action": action},
            name=f"compensation-{action}",
        )
        for action in compensation.ACTIONS
    ),
    *(
        path(
            f"compensations/<str:reference>/steps/<int:ordinal>/{action}/",
            compensation.act_on_step,
            {"action": action},
            name=f"compensation-step-{action}",
        )
        for action in compensation.STEP_ACTIONS
    ),
    *(
        path(
            f"compensations/<str:reference>/late/<int:index>/{what}/",
            compensation.answer_late,
            {"what": what},
            name=f"compensation-late-{what}",
        )
        for what in ("add", "leave")
    ),
    path("saved-searches/", saved.saved_searches, name="saved-searches"),
    path("saved-searches/counts", saved_tabs.counts, name="saved-search-counts"),
    path("saved-searches/new/", saved.new, name="saved-search-new"),
    path("saved-searches/<int:pk>/", saved.one, name="saved-search"),
    path("saved-searches/<int:pk>/open/", saved.open_list, name="saved-search-open"),
    path("saved-searches/<int:pk>/remove/", saved.remove, name="saved-search-remove"),
    path("saved-searches/<int:pk>/subscribe/", saved.tell_me, name="saved-search-subscribe"),
    path("saved-searches/<int:pk>/unsubscribe/", saved.stop_telling, name="saved-search-unsubscribe"),
    path("reconciliations/", reconcile.reconciliations, name="reconciliations"),
    path("reconciliations/new/", reconcile.new, name="reconciliation-new"),
    path("reconciliations/checks/", reconcile_checks.checks, name="reconciliation-checks"),
    path("reconciliations/checks/new/", reconcile_checks.new, name="reconciliation-check-new"),
    path("reconciliations/checks/<int:pk>/", reconcile_checks.one, name="reconciliation-check"),
    path("reconciliations/checks/<int:pk>/remove/", reconcile_checks.remove, name="reconciliation-check-remove"),
    path("reconciliations/<uuid:pk>/", reconcile.reconciliation, name="reconciliation"),
    path("reconciliations/<uuid:pk>/list/", reconcile.receive, name="reconciliation-list"),
    path("reconciliations/<uuid:pk>/csv", reconcile.csv, name="reconciliation-csv"),
    path("reconciliations/<uuid:pk>/compare/", reconcile.act, {"action": "compare"}, name="reconciliation-compare"),
    path("reconciliations/<uuid:pk>/cancel/", reconcile.act, {"action": "cancel"}, name="reconciliation-cancel"),
    path("reconciliations/<uuid:pk>/remove/", reconcile.remove, name="reconciliation-remove"),
    path("reconciliations/<uuid:pk>/<slug:slug>/", reconcile.keys, name="reconciliation-keys"),
    path("flows/", catalog.flows, name="flows"),
    path("flows/<int:pk>/", catalog.flow, name="flow"),
    path("flows/<int:pk>/compensation-book/", compensation_book.book, name="compensation-book"),
    path("flows/<int:pk>/compensation-book/end/", compensation_book.end, name="compensation-book-end"),
    path("flows/<int:pk>/compensation-book/export/", compensation_book.export, name="compensation-book-export"),
    path("topology/", topology.topology, name="topology"),
    path("figures/", figures.figures, name="figures"),
    path("connections/", catalog.connections, name="connections"),
    path("connections/connect/", connecting.connect, name="connect-broker"),
    path("connections/connect/landed", connecting.landed, name="connect-landed"),
    path("connections/<int:pk>/", catalog.connection, name="connection"),
    path("connections/<int:pk>/place/", two_way.place, name="connection-place"),
    path("agents/<int:pk>/order-secret/", two_way.secret, name="order-secret"),
    path("agents/<int:pk>/order-secret/end/", two_way.end_secret, name="order-secret-end"),
    path("connections/<int:pk>/redrive/", redriving.redrive, name="connection-redrive"),
    path("connections/<int:pk>/redrive/cancel/", redriving.cancel, name="connection-redrive-cancel"),
    path("connections/<int:pk>/<slug:action>", catalog.connection_action, name="connection-action"),
    path("changes/", changes.changes, name="changes"),
    path("changes/<uuid:pk>/", changes.change, name="change"),
    path("changes/<uuid:pk>/end/", changes.act, {"action": "end"}, name="change-end"),
    path("changes/<uuid:pk>/withdraw/", changes.act, {"action": "withdraw"}, name="change-withdraw"),
    path("settings/", settings.settings, name="settings"),
    path("settings/masking/", masking.masking, name="masking"),
    path("settings/masking/preview", masking.preview, name="masking-preview"),
    path("settings/masking/<int:pk>/", masking.change, name="masking-change"),
    path("settings/mappings/", mapping.mappings, name="mappings"),
    path("settings/mappings/new/", mapping.new, name="mapping-new"),
    path("settings/mappings/<int:pk>/", mapping.one, name="mapping"),
    path("settings/mappings/<int:pk>/remove/", mapping.remove, name="mapping-remove"),
    path("settings/schemas/", schema.schemas, name="schemas"),
    path("settings/schemas/new/", schema.new, name="schema-new"),
    path("settings/schemas/<int:pk>/", schema.one, name="body-schema"),
    path("settings/schemas/<int:pk>/remove/", schema.remove, name="schema-remove"),
    path("settings/retention/", retention.retention, name="retention"),
    path("settings/retention/hold/", retention.hold, name="environment-hold"),
    path("settings/retention/holds/<int:pk>/lift/", retention.lift, name="hold-lift"),
    path("flows/<int:pk>/hold/", retention.hold, name="flow-hold"),
    path("settings/refused/", watch.moved),
    path("ingest/", watch.ingest, name="ingest"),
    path("ingest/refused/", watch.refused, name="refused"),
    path("ingest/refused/<uuid:pk>/", watch.one_refused, name="reject"),
    path("ingest/refused/<uuid:pk>/resubmit/", watch.settle, {"action": "resubmit"}, name="reject-resubmit"),
    path("ingest/refused/<uuid:pk>/dismiss/", watch.settle, {"action": "dismiss"}, name="reject-dismiss"),
    path("settings/rules/<slug:kind>/<int:pk>/<slug:action>", settings.rule_action, name="rule-action"),
]

# ingest: raw views, no slash, no CSRF, keys of agents ----------------------------------------------------------------
urlpatterns += [
    path("v1/traces", ingest.traces, name="otlp-traces"),
    path("v1/logs", ingest.logs, name="otlp-logs"),
    path("ingest/v1/cloudevents", ingest.cloud_events, name="ingest-cloudevents"),
    path("ingest/v1/events", ingest.events, name="ingest-events"),
    path("ingest/v1/dead-letters", ingest.dead_letters, name="ingest-dead-letters"),
    path("ingest/v1/dead-letters/gone", gone, name="ingest-gone"),
    path("ingest/v1/changes", ingest.changes, name="ingest-changes"),
    path("ingest/v1/mapped/<slug:slug>", ingest.mapped, name="ingest-mapped"),
    path("ingest/v1/heartbeat", heartbeat, name="ingest-heartbeat"),
    path("ingest/v1/orders", replay_orders.orders, name="ingest-orders"),
    path("ingest/v1/orders/results", replay_orders.results, name="ingest-order-results"),
]

# REST: /api/v1/…, no slash -------------------------------------------------------------------------------------------
urlpatterns += [path("api/v1/", include("messages.api.urls"))]
