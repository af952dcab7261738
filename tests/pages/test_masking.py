"""Settings → Masking, and the marks that rules leave on pages."""

from __future__ import annotations

import pytest
from django.test import Client

from console.audit.models import AuditEntry
from console.identity.models import Role
from messages.models import DeadLetter, IngestReject, MaskingRule
from tests.factories import agent_key, environment, event, person, push, stored_letter
from tests.services.test_masking import SECRET, rule

pytestmark = pytest.mark.django_db
PAGE = "/settings/masking/"


def client(name: str, role: Role | None = None, **more: str) -> Client:
    found = Client()
    found.force_login(person(name, role, **more))
    return found


def test_an_administrator_adds_a_rule_that_acts_from_then_on():
    page = client("ada", Role.ADMINISTRATOR)
    asked = {"kind": "json_path", "expression": "$..card", "keep_last": "4", "drop_unreadable": "on", "flow": ""}

    answer = page.post(PAGE, asked, follow=True)
    stored_letter(body=f'{{"card": "{SECRET}"}}')

    made = MaskingRule.objects.get()
    assert (made.kind, made.expression, made.keep_last, made.drop_unreadable, made.flow) == (
        "json_path",
        "$..card",
        4,
        True,
        None,
    )
    assert made.created_by == "ada"
    assert f"Rule {made.pk} masks what comes from now on" in answer.content.decode()
    assert AuditEntry.objects.get(action="masking_rule.added").object_label == "JSON path $..card for every flow"
    assert DeadLetter.objects.get().content_masked
    listed = page.get(PAGE).content.decode()
    assert "$..card" in listed
    assert 'data-label="values, 24 h">1<' in listed


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"expression": "card"}, "column 1: a JSON path begins with $"),
        ({"expression": ""}, "1 to 500 characters"),
        ({"kind": "jq"}, "jq is not one of the available choices"),
        ({"keep_last": "9"}, "less than or equal to 8"),
        ({"flow": "nothing"}, "there is no such flow that you may see"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_at_its_field(changes: dict[str, str], words: str):
    page = client("ada", Role.ADMINISTRATOR)

    answer = page.post(PAGE, {"kind": "json_path", "expression": "$.a", **changes})

    assert answer.status_code == 422
    assert words in answer.content.decode()
    assert not MaskingRule.objects.exists()


def test_the_same_rule_twice_is_refused():
    rule("regex", "a+b")
    page = client("ada", Role.ADMINISTRATOR)

    answer = page.post(PAGE, {"kind": "regex", "expression": "a+b", "drop_unreadable": "on"})

    assert answer.status_code == 422
    assert "There is this rule already" in answer.content.decode()


def test_a_preview_shows_what_would_be_stored_and_saves_nothing():
    rule("header", "authorization")
    page = client("ada", Role.ADMINISTRATOR)
    sample = {
        "kind": "json_path",
        "expression": "$.card",
        "body": f'{{"card": "{SECRET}", "ok": 1}}',
        "headers": "Authorization: Bearer abc\nhost: shop",
    }

    whole = page.post(f"{PAGE}preview", sample)
    part = page.post(f"{PAGE}preview", sample, headers={"HX-Request": "true"})

    text = whole.content.decode()
    assert "{&quot;card&quot;:&quot;•••&quot;,&quot;ok&quot;:1}" in text
    assert "the new rule: 1 value" in text
    assert '<dt class="mono">Authorization</dt><dd class="id">•••</dd>' in text
    assert "could not be replayed" in text
    assert "<html" in text
    assert part.content.decode().lstrip().startswith('<div id="masking-preview"')
    assert MaskingRule.objects.count() == 1
    assert (
        not AuditEntry.objects.filter(action="masking_rule.added", object_id__gt="")
        .exclude(object_label__startswith="header")
        .exists()
    )


def test_a_preview_of_a_bad_expression_says_where_it_is_bad():
    page = client("ada", Role.ADMINISTRATOR)

    answer = page.post(
        f"{PAGE}preview", {"kind": "regex", "expression": "a(", "body": "x"}, headers={"HX-Request": "true"}
    )

    assert answer.status_code == 422
    assert "column 3: missing )" in answer.content.decode()


def test_rules_are_moved_and_removed_with_a_reason():
    first, second = rule("regex", "a+b"), rule("regex", "c+d")
    page = client("ada", Role.ADMINISTRATOR)

    refused = page.post(f"{PAGE}{second.pk}/", {"do": "up", "reason": " "})
    page.post(f"{PAGE}{second.pk}/", {"do": "up", "reason": "the longer one first"})
    order = list(MaskingRule.objects.values_list("pk", flat=True))
    page.post(f"{PAGE}{first.pk}/", {"do": "remove", "reason": "the field is gone"})

    assert refused.status_code == 422
    assert "Say why" in refused.content.decode()
    assert order == [second.pk, first.pk]
    assert list(MaskingRule.objects.values_list("pk", flat=True)) == [second.pk]
    told = AuditEntry.objects.filter(action__startswith="masking_rule.").order_by("id").values_list("action", "reason")
    assert list(told)[2:] == [
        ("masking_rule.moved", "the longer one first"),
        ("masking_rule.removed", "the field is gone"),
    ]


def test_others_look_at_the_rules_of_flows_they_see_and_change_none():
    from messages.models import Flow

    everywhere = rule("regex", "a+b")
    push("/ingest/v1/events", [event(destination="orders"), event(destination="secret")], key=agent_key())
    of_orders = rule("regex", "orders-only", flow="orders")
    rule("regex", "hidden-expression", flow="secret")
    team = person("owner", Role.OPERATOR, team="Other team").memberships.get().team
    Flow.objects.filter(name="secret").update(team=team)
    viewer, stranger = client("vic", Role.VIEWER), client("eve", Role.ADMINISTRATOR, slug="staging")

    seen = viewer.get(PAGE).content.decode()

    assert "a+b" in seen
    assert of_orders.expression in seen
    assert "hidden-expression" not in seen
    assert "Add a rule" not in seen
    for path, body in [
        (PAGE, {"kind": "regex", "expression": "x+"}), (f"{PAGE}{everywhere.pk}/", {"do": "remove", "reason": "x"}), (f"{PAGE}preview", {}),
    ]:  # fmt: skip
        assert viewer.post(path, body).status_code == 403, path
    assert stranger.post(f"{PAGE}{everywhere.pk}/", {"do": "remove", "reason": "x"}).status_code == 404
    assert MaskingRule.objects.count() == 3


def test_a_masked_letter_says_what_was_masked_and_why_it_cannot_be_replayed():
    made = rule("json_path", "$..card")
    letter = stored_letter(body=f'{{"card": "{SECRET}", "x": {{"card": 1}}}}')

    text = client("otto", Role.OPERATOR).get(f"/dead-letters/{letter.pk}/").content.decode()

    assert f"2 values masked by rule {made.pk}" in text
    assert "Its body or headers were masked before they were stored; it would be sent with ••• in it" in text
    assert SECRET not in text


def test_a_masked_refused_item_is_shown_and_only_its_sender_can_send_it_again():
    environment()
    rule("json_path", "$..card")
    push("/ingest/v1/events", [{"destination": "orders", "payload": {"body": SECRET}}], key=agent_key())
    reject = IngestReject.objects.get()
    page = client("otto", Role.OPERATOR)

    shown = page.get(f"/ingest/refused/{reject.pk}/").content.decode()
    refused = page.post(f"/ingest/refused/{reject.pk}/resubmit/", {"text": "{}"})

    assert "masked before it was stored" in shown
    assert "Send it again" not in shown
    assert "orders" in shown
    assert SECRET not in shown
    assert "only its sender can send it again" in refused.content.decode()
    assert IngestReject.objects.get().settled_at is None
