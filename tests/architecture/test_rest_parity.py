"""Every page's data and every button's action exist in REST: a page that nobody names here fails, and so does a counterpart that is gone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.urls import URLPattern, URLResolver, get_resolver, resolve

ID = "00000000-0000-0000-0000-000000000000"
FOR_PROGRAMS = ("api/", "v1/", "ingest/v1/", "livez", "readyz", "metrics")
OTHER = ("admin/", "^admin/")  # Django's own, read-only: a window on rows that REST has

# Address of a page or action → what a program asks instead, or in words why there is nothing to ask.
COUNTERPARTS: dict[str, list[str] | str] = {
    "": ["GET overview", "GET changes", "POST agents"],
    "first-run/light": ["GET overview"],
    "first-run/key": ["POST agents"],
    "environment/": ["GET environments"],  # chosen by the parameter `environment`, request by request
    "sign-in/": "programs send a key",
    "sign-out/": "programs send a key",
    "account/password/": ["GET account", "PUT account/password"],
    "docs/errors": "open to programs as it is, and in OpenAPI",
    "agents/": ["GET agents", "POST agents", "GET overview"],
    "agents/<int:pk>/": ["GET agents/1", "GET agents/1/keys", "GET agents/1/clocks", "POST agents", "GET audit"],
    "agents/<int:pk>/order-secret/": ["GET agents/1/order-secret", "POST agents/1/order-secret"],
    "agents/<int:pk>/order-secret/end/": ["DELETE agents/1/order-secret"],
    "agents/<int:pk>/quota": ["PATCH agents/1"],
    "agents/<int:pk>/keys/<int:key>/revoke": ["DELETE agents/1/keys/1"],
    "audit/": ["GET audit", f"GET audit/{ID}"],
    "settings/teams/": ["GET teams", "POST teams", "GET users", "POST users", "POST teams/1/members", "DELETE members/1"],
    "demo/": ["GET demo"],
    "demo/faults/<slug:key>": ["PUT demo/faults/poison"],
    "messages/": ["GET messages"],
    "search/completions": ["GET completions"],
    "messages/<uuid:pk>/": [f"GET messages/{ID}", "GET events", f"GET events/{ID}", f"GET events/{ID}/payload", f"GET messages/{ID}/journey"],
    "compare/": ["GET compare"],
    "m/<path:message_id>": ["GET messages"],
    "k/<str:name>/<path:value>": ["GET messages"],
    "j/<path:trace_id>": ["GET journeys", f"GET journeys/{ID}", f"GET journeys/{ID}/folds/x"],
    "dead-letters/": ["GET dead-letters"],
    "dead-letters/selected/": [f"GET dead-letters/{ID}", f"POST dead-letters/{ID}/replay", f"POST dead-letters/{ID}/discard"],
    "dead-letters/<uuid:pk>/": [
        f"GET dead-letters/{ID}", f"GET dead-letters/{ID}/payload", f"GET dead-letters/{ID}/replays", f"GET replays/{ID}",
        f"GET journeys/{ID}", "GET changes", "GET audit",
    ],
    "dead-letters/<uuid:pk>/different/": [f"GET dead-letters/{ID}/different"],
    "dead-letters/<uuid:pk>/hints/": [f"GET dead-letters/{ID}/hints"],
    "dead-letters/<uuid:pk>/edit/": [f"POST dead-letters/{ID}/edit"],
    "plans/<str:reference>/edit/": ["GET plans/P-1/edits", "PUT plans/P-1/edits", "DELETE plans/P-1/edits", "POST plans/P-1/preview"],
    "plans/<str:reference>/edit/destination/": ["PUT plans/P-1/destination"],
    "dead-letters/<uuid:pk>/replay/": [f"POST dead-letters/{ID}/replay"],
    "dead-letters/<uuid:pk>/discard/": [f"POST dead-letters/{ID}/discard"],
    "dead-letters/<uuid:pk>/restore/": [f"POST dead-letters/{ID}/restore"],
    "dead-letters/<uuid:pk>/send-again/": [f"POST replays/{ID}/send-again"],
    "dead-letters/<uuid:pk>/mark-processed/": [f"POST replays/{ID}/mark-processed"],
    "groups/": ["GET groups"],
    "groups/<str:reference>/": ["GET groups/G-1", "GET groups/G-1/notes", "GET dead-letters", "GET changes", "GET audit"],
    "groups/<str:reference>/different/": ["GET groups/G-1/different"],
    "groups/<str:reference>/letters/": ["GET dead-letters"],
    "groups/<str:reference>/acknowledge/": ["POST groups/G-1/acknowledge"],
    "groups/<str:reference>/resolve/": ["POST groups/G-1/resolve"],
    "groups/<str:reference>/reopen/": ["POST groups/G-1/reopen"],
    "groups/<str:reference>/assign/": ["POST groups/G-1/assign"],
    "groups/<str:reference>/runbook/": ["PUT groups/G-1/runbook"],
    "groups/<str:reference>/note/": ["POST groups/G-1/notes"],
    "groups/<str:reference>/merge/": ["POST groups/G-1/merge"],
    "groups/<str:reference>/apart/": ["POST groups/G-1/apart"],
    "groups/<str:reference>/split/": ["POST groups/G-1/split"],
    "groups/<str:reference>/recipe/": ["GET groups/G-1/recipes", "POST groups/G-1/recipes"],
    "replay-rules/": ["GET rules/replay"],
    "replay-rules/new/": ["POST rules/replay"],
    "replay-rules/off/": ["POST rules/replay/off"],
    "replay-rules/<int:pk>/": ["GET rules/replay/1", "PUT rules/replay/1", "GET audit"],
    "replay-rules/<int:pk>/on/": ["POST rules/replay/1/on"],
    "replay-rules/<int:pk>/off/": ["POST rules/replay/1/off"],
    "replay-rules/<int:pk>/remove/": ["DELETE rules/replay/1"],
    "groups/rules/": ["GET rules/groups"],
    "groups/rules/new/": ["POST rules/groups", "POST rules/groups/preview"],
    "groups/rules/apply/": ["POST rules/groups/apply"],
    "groups/rules/<int:pk>/": ["GET rules/groups/1", "PUT rules/groups/1", "POST rules/groups/preview"],
    "groups/rules/<int:pk>/change/": ["POST rules/groups/1/move", "DELETE rules/groups/1"],
    "plans/": ["GET plans"],
    "plans/new/": ["POST plans"],
    "plans/stops/": ["GET replay-stops", "POST replay-stops"],
    "plans/stops/<int:pk>/lift/": ["DELETE replay-stops/1"],
    "plans/<str:reference>/": ["GET plans/P-1", "GET plans/P-1/items"],
    "plans/<str:reference>/how/": ["PATCH plans/P-1"],
    "plans/<str:reference>/now/": ["GET plans/P-1"],
    "plans/<str:reference>/chart/": ["GET plans/P-1/items"],
    "plans/<str:reference>/csv": ["GET plans/P-1/csv"],
    "plans/<str:reference>/request/": ["POST plans/P-1/request-approval"],
    "plans/<str:reference>/approve/": ["POST plans/P-1/approve"],
    "plans/<str:reference>/refuse/": ["POST plans/P-1/refuse"],
    "plans/<str:reference>/start/": ["POST plans/P-1/start"],
    "plans/<str:reference>/later/": ["POST plans/P-1/start"],
    "plans/<str:reference>/undo/": ["POST plans/P-1/undo"],
    "plans/<str:reference>/pause/": ["POST plans/P-1/pause"],
    "plans/<str:reference>/resume/": ["POST plans/P-1/resume"],
    "plans/<str:reference>/stop/": ["POST plans/P-1/stop"],
    "plans/<str:reference>/cancel/": ["POST plans/P-1/cancel"],
    "plans/<str:reference>/report/": "a mail to the person who presses: programs read GET plans/P-1",
    "compensations/": ["GET compensations", "GET compensations/tasks"],
    "compensations/csv": ["GET compensations"],
    "compensations/new/": ["POST compensations"],
    "compensations/<str:reference>/": [
        "GET compensations/C-1", "GET compensations/C-1/steps", "GET compensations/C-1/steps/1/action",
        "GET compensations/C-1/steps/1/before-after", "GET audit",
    ],
    "compensations/<str:reference>/now/": ["GET compensations/C-1"],
    "compensations/<str:reference>/start/": ["POST compensations/C-1/start"],
    "compensations/<str:reference>/undo/": ["POST compensations/C-1/undo"],
    "compensations/<str:reference>/approve/": ["POST compensations/C-1/approve"],
    "compensations/<str:reference>/refuse/": ["POST compensations/C-1/refuse"],
    "compensations/<str:reference>/pause/": ["POST compensations/C-1/pause"],
    "compensations/<str:reference>/resume/": ["POST compensations/C-1/resume"],
    "compensations/<str:reference>/stop/": ["POST compensations/C-1/stop"],
    "compensations/<str:reference>/look-again/": ["POST compensations/C-1/look-again"],
    "compensations/<str:reference>/late/<int:index>/add/": ["POST compensations/C-1/late/0"],
    "compensations/<str:reference>/late/<int:index>/leave/": ["POST compensations/C-1/late/0"],
    "compensations/<str:reference>/steps/<int:ordinal>/retry/": ["POST compensations/C-1/steps/1/retry"],
    "compensations/<str:reference>/steps/<int:ordinal>/skip/": ["POST compensations/C-1/steps/1/skip"],
    "compensations/<str:reference>/steps/<int:ordinal>/mark/": ["POST compensations/C-1/steps/1/mark"],
    "compensations/<str:reference>/steps/<int:ordinal>/assign/": ["POST compensations/C-1/steps/1/assign"],
    "saved-searches/": ["GET saved-searches"],
    "saved-searches/counts": ["GET saved-searches", "GET saved-searches/1"],
    "saved-searches/new/": ["POST saved-searches"],
    "saved-searches/<int:pk>/": ["GET saved-searches/1", "PUT saved-searches/1", "GET saved-searches/1/subscription"],
    "saved-searches/<int:pk>/open/": ["GET saved-searches/1", "GET messages", "GET dead-letters"],
    "saved-searches/<int:pk>/remove/": ["DELETE saved-searches/1"],
    "saved-searches/<int:pk>/subscribe/": ["PUT saved-searches/1/subscription"],
    "saved-searches/<int:pk>/unsubscribe/": ["DELETE saved-searches/1/subscription"],
    "reconciliations/": ["GET reconciliations"],
    "reconciliations/new/": ["POST reconciliations", f"PUT reconciliations/{ID}/list"],
    "reconciliations/<uuid:pk>/": [f"GET reconciliations/{ID}", "GET audit"],
    "reconciliations/<uuid:pk>/list/": [f"PUT reconciliations/{ID}/list"],
    "reconciliations/<uuid:pk>/csv": [f"GET reconciliations/{ID}/csv"],
    "reconciliations/<uuid:pk>/compare/": [f"POST reconciliations/{ID}/compare"],
    "reconciliations/<uuid:pk>/cancel/": [f"POST reconciliations/{ID}/cancel"],
    "reconciliations/<uuid:pk>/remove/": [f"DELETE reconciliations/{ID}"],
    "reconciliations/<uuid:pk>/<slug:slug>/": [f"GET reconciliations/{ID}/keys"],
    "reconciliations/checks/": ["GET reconciliation-checks"],
    "reconciliations/checks/new/": ["POST reconciliation-checks"],
    "reconciliations/checks/<int:pk>/": [
        "GET reconciliation-checks/1", "PUT reconciliation-checks/1", "PUT reconciliation-checks/1/list", "GET reconciliations",
    ],
    "reconciliations/checks/<int:pk>/remove/": ["DELETE reconciliation-checks/1"],
    "objectives/": ["GET objectives"],
    "objectives/new/": ["POST objectives"],
    "objectives/import/": ["POST objectives/openslo"],
    "objectives/openslo.yaml": ["GET objectives/openslo"],
    "objectives/<int:pk>/": [
        "GET objectives/1", "GET objectives/1/budget", "GET objectives/1/minutes", "GET exclusions", f"GET exclusions/{ID}", "GET audit",
    ],
    "objectives/<int:pk>/what-if/": ["GET objectives/1/what-if"],
    "objectives/<int:pk>/edit/": ["GET objectives/1", "PUT objectives/1"],
    "objectives/<int:pk>/remove/": ["DELETE objectives/1"],
    "objectives/<int:pk>/exclude/": ["POST exclusions"],
    "objectives/exclusions/<uuid:pk>/withdraw/": [f"POST exclusions/{ID}/withdraw"],
    "flows/": ["GET flows", "GET flows/1/figures"],
    "flows/<int:pk>/": [
        "GET flows/1", "PATCH flows/1", "GET flows/1/figures", "GET flows/1/systems", "GET systems", "GET systems/1",
        "GET changes", "GET audit", "GET teams",
    ],
    "topology/": ["GET topology"],
    "figures/": ["GET figures", "GET changes"],
    "connections/": ["GET connections", "POST connections"],
    "connections/connect/": ["POST harvest-files", "POST agents", "GET connections"],
    "connections/connect/landed": ["GET dead-letters", "GET agents"],
    "connections/<int:pk>/": ["GET connections/1", "GET connections/1/queues", "GET audit"],
    "connections/<int:pk>/<slug:action>": [
        "POST connections/1/test", "POST connections/1/approve", "POST connections/1/withdraw", "PUT connections/1/secret",
        "POST connections/1/discover", "PUT connections/1/undoing",
    ],
    "connections/<int:pk>/place/": ["PUT connections/1/place"],
    "connections/<int:pk>/redrive/": ["GET connections/1/redrive", "POST connections/1/redrive"],
    "connections/<int:pk>/redrive/cancel/": ["POST connections/1/redrive/cancel"],
    "changes/": ["GET changes", "POST changes"],
    "changes/<uuid:pk>/": [f"GET changes/{ID}", "GET audit"],
    "changes/<uuid:pk>/end/": [f"POST changes/{ID}/end"],
    "changes/<uuid:pk>/withdraw/": [f"POST changes/{ID}/withdraw"],
    "settings/": ["GET rules/flows", "POST rules/flows", "GET rules/keys", "POST rules/keys", "GET rules/destinations"],
    "settings/rules/<slug:kind>/<int:pk>/<slug:action>": ["DELETE rules/flows/1", "POST rules/keys/1/move"],
    "settings/masking/": ["GET rules/masking", "POST rules/masking"],
    "settings/masking/preview": ["POST rules/masking/preview"],
    "settings/masking/<int:pk>/": ["DELETE rules/masking/1", "POST rules/masking/1/move"],
    "flows/<int:pk>/compensation-book/": [
        "GET flows/1/compensation-book", "PUT flows/1/compensation-book", "GET flows/1/compensation-book/versions",
        "POST flows/1/compensation-book/try",
    ],
    "flows/<int:pk>/compensation-book/end/": ["DELETE flows/1/compensation-book"],
    "flows/<int:pk>/compensation-book/export/": ["GET flows/1/compensation-book"],
    "settings/mappings/": ["GET mappings", "GET mappings/shipped"],
    "settings/mappings/new/": ["POST mappings", "POST mappings/preview"],
    "settings/mappings/<int:pk>/": ["GET mappings/1", "PUT mappings/1", "POST mappings/preview"],
    "settings/mappings/<int:pk>/remove/": ["DELETE mappings/1"],
    "settings/schemas/": ["GET schemas"],
    "settings/schemas/new/": ["POST schemas", "POST schemas/preview"],
    "settings/schemas/<int:pk>/": ["GET schemas/1", "PUT schemas/1", "POST schemas/preview"],
    "settings/schemas/<int:pk>/remove/": ["DELETE schemas/1"],
    "settings/channels/": ["GET channels", "GET channels/kinds", "GET approved-hosts"],
    "settings/channels/new/": ["POST channels", "POST channels/preview"],
    "settings/channels/dead/": ["GET deliveries"],
    "settings/channels/hosts/": ["POST approved-hosts"],
    "settings/channels/hosts/<int:pk>/withdraw/": ["DELETE approved-hosts/1"],
    "settings/channels/<int:pk>/": ["GET channels/1", "PUT channels/1", "GET deliveries", "GET audit"],
    "settings/channels/<int:pk>/test/": ["POST channels/1/test"],
    "settings/channels/<int:pk>/remove/": ["DELETE channels/1"],
    "settings/deliveries/<int:pk>/": ["GET deliveries/1"],
    "settings/deliveries/<int:pk>/again/": ["POST deliveries/1/send-again"],
    "settings/retention/": ["GET retention", "PATCH retention", "POST retention/preview", "GET retention/plan"],
    "settings/retention/hold/": ["GET retention/holds", "POST retention/holds"],
    "settings/retention/holds/<int:pk>/lift/": ["DELETE retention/holds/1"],
    "flows/<int:pk>/hold/": ["POST retention/holds"],
    "settings/refused/": "an old address that leads to ingest/refused/",
    "breaches/": ["GET breaches", "GET external-alerts"],
    "breaches/<str:reference>/": ["GET breaches/B-1", "GET audit"],
    "breaches/<str:reference>/acknowledge/": ["POST breaches/B-1/acknowledge"],
    "breaches/<str:reference>/assign/": ["POST breaches/B-1/assign"],
    "breaches/<str:reference>/note/": ["POST breaches/B-1/notes"],
    "breaches/<str:reference>/silence/": ["POST breaches/B-1/silence"],
    "breaches/<str:reference>/close/": ["POST breaches/B-1/close"],
    "breaches/silences/": ["GET silences", "POST silences"],
    "breaches/silences/<int:pk>/end/": ["GET silences/1", "DELETE silences/1"],
    "settings/alerting/": ["GET alerting/policies", "GET alerting/groups"],
    "settings/alerting/groups/": ["PUT alerting/groups"],
    "settings/alerting/new/": ["POST alerting/policies"],
    "settings/alerting/<int:pk>/": ["GET alerting/policies/1", "PUT alerting/policies/1"],
    "settings/alerting/<int:pk>/remove/": ["DELETE alerting/policies/1"],
    "ingest/": ["GET ingest"],
    "ingest/refused/": ["GET rejects"],
    "ingest/refused/<uuid:pk>/": [f"GET rejects/{ID}", f"GET rejects/{ID}/text"],
    "ingest/refused/<uuid:pk>/resubmit/": [f"POST rejects/{ID}/resubmit"],
    "ingest/refused/<uuid:pk>/dismiss/": [f"POST rejects/{ID}/dismiss"],
}  # fmt: skip


def routes(patterns: list[URLPattern | URLResolver], before: str = "") -> Iterator[str]:
    for one in patterns:
        address = before + str(one.pattern)
        if isinstance(one, URLResolver):
            yield from routes(one.url_patterns, address)
        else:
            yield address


def test_every_page_and_every_action_has_a_counterpart_in_rest():
    pages = {one for one in routes(get_resolver().url_patterns) if not one.startswith((*FOR_PROGRAMS, *OTHER))}

    assert pages - set(COUNTERPARTS) == set(), "new pages: name what a program asks instead"
    assert set(COUNTERPARTS) - pages == set(), "these are gone"


@pytest.mark.parametrize(
    "asked", sorted({one for many in COUNTERPARTS.values() if not isinstance(many, str) for one in many})
)
def test_the_counterpart_answers_that_method(asked: str):
    method, path = asked.split()

    view = resolve(f"/api/v1/{path}").func

    assert hasattr(view, "cls"), f"{path} is no REST address"
    assert hasattr(view.cls, method.lower())
