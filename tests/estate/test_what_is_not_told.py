"""What only another team's flows told stands on no page and in no answer: every link is followed, every list of REST read."""

from __future__ import annotations

import re
from urllib.parse import urljoin, urlsplit

import pytest
from lxml import html

from tests.estate.happenings import ORDERS_OF_PUSHING, TRACE
from tests.estate.pushing import Reader, make_readers, push_estate

pytestmark = pytest.mark.django_db

# Names of systems are told to everybody of the environment: messages.access.visible_systems.
HIDDEN = {
    "olga": ("StockMissing", "no shelf", "shelf of", "C-9", "BadPrice", "below the cost", "price_no", "pick_no", "q.stock", "prices", "pick.tasks", "P-3"),
    "vera": ("ErpTimeout", "erp did not answer", "BrokerGone", "broker is gone", "ex.orders", "q.erp", "O-7", "O-9", "O-10"),
}  # fmt: skip
BEGIN = (
    "/", "/groups/?show=all", "/messages/?window=7d", "/dead-letters/?state=all", "/flows/", "/topology/?window=7d", "/figures/?window=7d",
    "/reconciliations/", "/changes/", "/ingest/", "/audit/", "/saved-searches/", "/groups/rules/", f"/j/{TRACE}", "/k/order_no/O-5",
    "/k/customer_no/C-8",
)  # fmt: skip
NOT_FOLLOWED = re.compile(r"/(static|accounts|api|environment|password|admin|csv|\.well-known)|logout|export")
MOST_PAGES = 150
REST = (
    "messages?window=7d", "events?window=7d", "dead-letters", "groups?show=all", "flows", "overview", "topology?window=7d",
    "figures?window=7d", "rules/destinations", "rules/flows", "rules/keys", "rules/groups", "rules/masking", "reconciliations", "saved-searches",
    "changes", "connections", "plans", "compensations", "agents", "ingest", "rejects", "audit", "objectives", "breaches",
    f"journeys/{TRACE}", "completions?q=flow:&of=messages", "completions?q=destination:&of=messages", "completions?q=sh&of=messages",
    "completions?q=group:&of=messages", "completions?q=via:&of=messages", "completions?q=class:&of=messages",
)  # fmt: skip


def said_by(reader: Reader) -> dict[str, str]:
    """Return {address: what it says}, of pages by their links and of REST with one of each list."""
    found, waiting = {}, list(BEGIN)
    while waiting and len(found) < MOST_PAGES:
        path = waiting.pop(0)
        answer = reader.browser.get(path, follow=True)
        found[path] = answer.content.decode() if answer.status_code < 500 and not answer.streaming else ""
        assert answer.status_code < 500, path
        if "html" in answer["Content-Type"]:
            links = html.fromstring(found[path]).xpath("//main//a/@href")
            near = [urljoin(path, one) for one in links if not urlsplit(one).netloc and not one.startswith("#")]
            plain = [one.partition("#")[0] for one in near if not NOT_FOLLOWED.search(one)]
            waiting += [one for one in dict.fromkeys(plain) if one not in found and one not in waiting]
    for path in REST:
        answer = reader.rest(path)
        assert answer.status_code in (200, 403), (path, answer.content)
        found[path] = answer.content.decode()
        for one in answer.json().get("results", []) if isinstance(answer.json(), dict) else []:
            name = str(one.get("reference") or one.get("id") or "") if isinstance(one, dict) else ""
            if name and path.partition("?")[0] in ("messages", "events", "dead-letters", "groups", "flows"):
                found[f"{path} {name}"] = reader.rest(f"{path.partition('?')[0]}/{name}").content.decode()
                if path.startswith("messages"):
                    found[f"journey {name}"] = reader.rest(f"messages/{name}/journey").content.decode()
    return found


@pytest.mark.parametrize("order", ["as it happened", "system by system, backwards"])
@pytest.mark.parametrize("who", HIDDEN)
def test_nothing_that_only_another_team_told_is_told_anywhere(who: str, order: str):
    push_estate(ORDERS_OF_PUSHING[order])

    said = said_by(make_readers()[who])

    assert len(said) > 100
    assert [(path, word) for path, text in said.items() for word in HIDDEN[who] if word in text] == []


def test_the_administrator_is_told_all_of_it():
    """The words are those that pages have: nothing is hidden by being looked for under another name."""
    push_estate(ORDERS_OF_PUSHING["as it happened"])

    said = "\n".join(said_by(make_readers()["administrator"]).values())

    assert [word for words in HIDDEN.values() for word in words if word not in said] == []
