"""Reconciliations on pages: a list pasted or uploaded, its sets, its failed keys acted on, its check; and who may do what."""

from __future__ import annotations

import html
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from console.identity.models import Role, Team
from messages.models import DeadLetter, Flow, MessageStatus, Reconciliation, ReconciliationCheck
from messages.reconcile.evaluating import reconcile
from messages.reconcile.sets import SETS
from tests.factories import stored_letter
from tests.pages.people import signed_in, text_of
from tests.services.reconciling import compared, flow, message

pytestmark = pytest.mark.django_db
NEW, CHECK = "/reconciliations/new/", "/reconciliations/checks/new/"
HOSTILE = '<script>alert("1")</script>'


def said(**changes: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    period = {
        "since": f"{now - timedelta(days=1):%Y-%m-%dT%H:%M}",
        "until": f"{now + timedelta(hours=1):%Y-%m-%dT%H:%M}",
    }
    return (
        {"flow": "orders", "key_name": "order_no", "name": "Yesterday", "keys": "1\n2\n3\n", "column": ""}
        | period
        | changes
    )


def one_made(client: Client, **changes: Any) -> str:
    answer = client.post(NEW, said(**changes))
    assert answer.status_code == 303, text_of(answer)
    reconcile()
    return str(answer["Location"])


def test_a_pasted_list_is_compared_and_every_set_has_a_page_with_its_keys():
    flow()
    client = signed_in("ada", Role.OPERATOR)
    message("1")
    message(HOSTILE)

    page = one_made(client, keys="1\n2\n2\n\nx,y\n")
    seen = client.get(page)

    assert "2 keys = 1 arrived + 1 never seen; 1 arrived = 1 processed + 0 failed + 0 on the way." in text_of(seen)
    assert "4 lines = 2 keys + 1 that say a key again + 1 bad ones." in text_of(seen)
    assert "it has 2 values" in text_of(seen)
    assert all(one.meaning in html.unescape(text_of(seen)) for one in SETS.values())
    for slug, words in (
        ("processed", "1"),
        ("never-seen", "2"),
        ("repeated", "2 times, first in line 2"),
        ("not-on-the-list", "alert("),
    ):
        keys = client.get(f"{page}{slug}/")
        assert words in text_of(keys)
        assert b"<script>alert" not in keys.content
    assert "No key is in this set" in text_of(client.get(f"{page}twice/"))
    assert client.get(f"{page}nonsense/").status_code == 404
    assert "Yesterday" in text_of(client.get("/reconciliations/"))


def test_a_key_that_a_dead_letter_decided_stands_beside_it_in_every_set():
    replayed = stored_letter(id="a", message_id="", origin="orders", keys={"order_no": "1"})
    waiting = stored_letter(id="b", message_id="", origin="orders", keys={"order_no": "2"})
    closed = {"state": "closed", "resolution": "processed", "closed_at": datetime.now(UTC)}
    DeadLetter.objects.filter(pk=replayed.pk).update(**closed)
    client = signed_in("ada", Role.OPERATOR)
    page = one_made(client, keys="1\n")

    for slug, letter in (("processed", replayed), ("not-on-the-list", waiting)):
        keys = client.get(f"{page}{slug}/")
        assert keys.content.decode().count(f'href="/dead-letters/{letter.pk}/"') == 2
        assert "Their dead letters" in text_of(keys)
    assert f'name="id" value="{waiting.pk}"' in keys.content.decode()


def test_the_form_for_another_list_comes_with_the_result_and_not_only_after_a_reload():
    flow()
    client = signed_in("ada", Role.OPERATOR)
    answer = client.post(NEW, said())
    page, form = str(answer["Location"]), "Send another list in its place"
    working = client.get(page, headers={"HX-Request": "true"}).content.decode()

    reconcile()

    ready = client.get(page, headers={"HX-Request": "true"}).content.decode()
    assert [form in one for one in (working, ready)] == [False, True]
    assert ready.count('id="reconciliation-list" hx-swap-oob="true"') == 1
    assert client.get(page).content.decode().count('id="reconciliation-list"') == 1


def test_a_csv_is_uploaded_and_comes_back_as_a_csv():
    flow()
    client = signed_in("ada", Role.OPERATOR)
    file = SimpleUploadedFile("orders.csv", "id;nummer\n1;=A1\n2;ö\n".encode(), "text/csv")

    page = one_made(client, keys="", file=file, column="Nummer")
    answer = client.get(f"{page}csv")

    assert 'attachment; filename="reconciliation-' in answer["Content-Disposition"]
    assert answer.getvalue().decode().split("\r\n")[1:3] == ["'=A1,never seen,1,2,0,,", "ö,never seen,1,3,0,,"]
    assert client.get(f"{page}csv?set=failed").getvalue().decode().count("\r\n") == 1
    assert client.get(f"{page}csv?set=nonsense").status_code == 404


def test_a_file_that_is_too_large_is_not_kept_and_the_form_says_how_large_it_may_be(monkeypatch: pytest.MonkeyPatch):
    flow()
    client = signed_in("ada", Role.OPERATOR)
    monkeypatch.setattr("console.core.uploads.MOST_BYTES", 200_000)
    taken = SimpleUploadedFile("orders.csv", b"1\n" * 90_000)
    large = SimpleUploadedFile("orders.csv", b"1\n" * 2_000_000)

    answer = client.post(NEW, said(keys="", file=large))

    assert (answer.status_code, "a file of at most 128 MiB" in text_of(answer)) == (422, True)
    assert client.post(NEW, said(keys="", file=taken)).status_code == 303


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"keys": ""}, "Paste the keys or choose a file: one of the two"),
        ({"keys": "\n \n"}, "Paste the keys or choose a file"),
        ({"keys": "a,b\n"}, "There is no key in this list: line 1: it has 2 values"),
        ({"flow": "nothing"}, "Select a valid choice"),
        ({"until": "2020-01-01T00:00"}, "The period ends after it begins"),
        ({"since": "2020-01-01T00:00"}, "A period has at most 92 days"),
        ({"column": "x"}, "Line 1 has no column “x”: it has 1"),
        ({"key_name": " "}, "This field is required"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_words_and_leaves_nothing(changes: dict[str, str], words: str):
    flow()
    client = signed_in("ada", Role.OPERATOR)

    answer = client.post(NEW, said(**changes))

    assert answer.status_code == 422
    assert words in text_of(answer)
    assert "No list was compared yet" in text_of(client.get("/reconciliations/"))


def test_failed_keys_lead_to_their_dead_letters_and_the_ticked_ones_to_what_is_done():
    letters = [stored_letter(origin="orders", keys={"order_no": str(number)}) for number in (1, 2)]
    client = signed_in("ada", Role.OPERATOR)
    page = one_made(client)

    failed = client.get(f"{page}failed/").content.decode()
    chosen = client.get(f"/dead-letters/selected/?do=discard&id={letters[0].pk}&id={letters[1].pk}")

    for letter in letters:
        assert f'name="id" value="{letter.pk}"' in failed
        assert f"/dead-letters/{letter.pk}/" in failed
    assert 'action="/dead-letters/selected/"' in failed
    assert "Close 2 dead letters without sending" in text_of(chosen)
    viewer = signed_in("viewer", Role.VIEWER).get(f"{page}failed/").content.decode()
    assert 'name="id"' not in viewer


def test_it_is_compared_again_cancelled_given_another_list_and_removed():
    flow()
    client = signed_in("ada", Role.OPERATOR)
    page = one_made(client)

    assert client.post(f"{page}compare/").status_code == 303
    waits = client.get(page)
    assert "It waits for a worker" in text_of(waits)
    assert 'hx-trigger="every 2s"' in waits.content.decode()
    assert b"<html" not in client.get(page, HTTP_HX_REQUEST="true").content
    busy = client.post(f"{page}list/", {"keys": "9\n"})
    assert (busy.status_code, "wait until it is done, or cancel it" in text_of(busy)) == (422, True)
    assert client.post(f"{page}cancel/").status_code == 303
    assert client.post(f"{page}cancel/").status_code == 422
    assert client.post(f"{page}list/", {"keys": "", "column": ""}).status_code == 422
    assert client.post(f"{page}list/", {"keys": "9\n"}).status_code == 303
    reconcile()
    assert f"{page}csv" in client.get(page, HTTP_HX_REQUEST="true").content.decode()  # there without a reload
    assert "1 key = 0 arrived + 1 never seen" in text_of(client.get(page)).replace("1 keys", "1 key")
    assert client.post(f"{page}remove/").status_code == 303
    assert client.get(page).status_code == 404


def test_viewers_look_and_strangers_see_nothing():
    flow()
    page = one_made(signed_in("ada", Role.OPERATOR))
    Flow.objects.update(team=Team.objects.get(name="Order team"))
    viewer, stranger = signed_in("viewer", Role.VIEWER), signed_in("stranger", Role.ADMINISTRATOR, team="Others")

    for path in (page, f"{page}never-seen/", f"{page}csv"):
        assert viewer.get(path).status_code == 200
        assert stranger.get(path).status_code == 404
    for action in ("compare", "cancel", "remove"):
        assert viewer.post(f"{page}{action}/").status_code == 403
        assert stranger.post(f"{page}{action}/").status_code == 404
    assert viewer.post(f"{page}list/", {"keys": "1\n"}).status_code == 403
    assert Reconciliation.objects.get().state == "done"
    assert viewer.post(NEW, said()).status_code == 403
    assert stranger.post(NEW, said()).status_code == 422  # no such flow to choose
    assert "Compare again" not in text_of(viewer.get(page))


def test_a_check_is_made_shown_with_the_line_to_send_its_list_changed_and_removed():
    flow()
    client = signed_in("ada", Role.OPERATOR)
    wanted = {
        "flow": "orders",
        "name": "Every order",
        "key_name": "order_no",
        "due": "06:30",
        "time_zone": "Europe/Berlin",
        "days": ["1", "2"],
        "hours": "24",
    }

    made = client.post(CHECK, wanted)
    page = made["Location"]
    seen = text_of(client.get(page))
    bad = client.post(CHECK, wanted | {"due": "half past six"})
    changed = client.post(page, wanted | {"name": "Orders of the night"})

    assert "Mon, Tue at 06:30, Europe/Berlin, of the last 24 h" in seen
    assert f"/api/v1/reconciliation-checks/{ReconciliationCheck.objects.get().pk}/list" in seen
    assert "who has no mail address" in seen
    assert (bad.status_code, "A time of day is written 08:30" in text_of(bad)) == (422, True)
    assert changed.status_code == 303
    assert "Orders of the night" in text_of(client.get("/reconciliations/checks/"))
    viewer = signed_in("viewer", Role.VIEWER)
    assert viewer.get(page).status_code == 200
    assert viewer.post(page, wanted).status_code == 403
    assert viewer.post(f"{page}remove/").status_code == 403
    assert viewer.post(CHECK, wanted).status_code == 403
    assert client.post(f"{page}remove/").status_code == 303
    assert "No check yet" in text_of(client.get("/reconciliations/checks/"))


def test_pages_make_as_many_queries_for_many_rows_as_for_few(django_assert_max_num_queries: Any):
    client = signed_in("ada", Role.OPERATOR)
    one = compared("\n".join(map(str, range(200))))
    for number in range(12):
        compared(f"{number}\n", name=str(number))

    for path in ("/reconciliations/", f"/reconciliations/{one.pk}/never-seen/", f"/reconciliations/{one.pk}/failed/"):
        with django_assert_max_num_queries(12):
            assert client.get(path).status_code == 200


@pytest.mark.parametrize(
    ("key_name", "key"),
    [
        ("order_no", "47\n11"),
        ("order/no", "4711"),
        ("Auftrag Nr.", "4711"),
        ("order_no", "a/b?c#d"),
        ("order_no", ".."),
    ],
)
def test_keys_that_no_deep_link_can_name_lead_to_their_message(key_name: str, key: str):
    first, second = message(key, key_name=key_name), message(key, key_name=key_name)
    one = compared("other", key_name=key_name)

    client = signed_in("viewer", Role.VIEWER)
    page = client.get(f"/reconciliations/{one.pk}/not-on-the-list/")

    assert page.status_code == 200
    address = html.unescape(page.content.decode()).partition('class="wide"><a href="')[2].partition('"')[0]
    assert client.get(address).status_code == 200
    assert str(max(first, second)) in address or (address.startswith("/k/") and ".." not in address)


def test_lines_that_say_a_key_again_are_counted_as_lines():
    one = compared("1\n1\n1\n1\n")

    page = text_of(signed_in("viewer", Role.VIEWER).get(f"/reconciliations/{one.pk}/repeated/"))

    assert "Twice on the list: 3 lines" in page


def test_failed_keys_can_be_acted_on_also_where_the_first_page_of_them_has_no_letter():
    flow()
    for number in range(60):
        uid = message(f"{number:02d}", MessageStatus.DEAD)
    one = compared("".join(f"{number:02d}\n" for number in range(60)))
    client = signed_in("olga", Role.OPERATOR)
    page = f"/reconciliations/{one.pk}/failed/"
    assert not client.get(page).context["plan_url"]
    stored_letter()
    DeadLetter.objects.update(message_uid=uid)

    shown = client.get(page)

    assert len(shown.context["rows"]) == 50
    assert (bool(shown.context["plan_url"]), bool(shown.context["letters_url"])) == (True, True)


def test_counts_of_the_list_before_are_called_so_while_another_one_is_compared():
    flow()
    client = signed_in("olga", Role.OPERATOR)
    page = one_made(client, keys="1\n2\n")
    assert "2 lines = 2 keys" in text_of(client.get(page))

    assert client.post(f"{page}list/", {"keys": "1\n2\n3\n", "column": ""}).status_code == 303

    waiting = text_of(client.get(page))
    assert "of the list before" in waiting
    assert "lines = " not in waiting
    reconcile()
    assert "3 lines = 3 keys" in text_of(client.get(page))
