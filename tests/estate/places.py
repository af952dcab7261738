"""Every place that tells of messages, dead letters, journeys and what a search finds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from tests.estate.asking import Asking, Page, stamp, text_of, time_of
from tests.estate.happenings import KEYS, TRACE, Event, Letter, uid
from tests.estate.model import Seen, cause_of_letter, heading


def about(message_id: str) -> str:
    return message_id.removeprefix("message of ").removesuffix(", long enough")


# messages ---------------------------------------------------------------------------------------------------------------


def tell_messages(ask: Asking) -> None:
    """Status, events, times, keys and errors of every message, in lists and by itself."""
    for who, reader in ask.everybody():
        true = {one.about: one for one in ask.estate.messages(who)}
        listed = {about(one["message_id"]): one for one in reader.results("messages", window="7d")}
        ask.same(who, "messages", "messages", sorted(listed), sorted(true))
        rows = {
            one.href.split("/")[2]: one for one in Page(reader.page("/messages/", window="7d")).rows("message-list")
        }
        ask.same(who, "messages", "/messages/", len(rows), len(true))
        counted = Counter((one["flow"], one["status"]) for one in listed.values())
        ask.same(
            who,
            "messages by flow and status",
            "messages",
            counted,
            Counter((one.flow, one.status) for one in true.values()),
        )
        for name, one in true.items():
            if (said := listed.get(name)) is None:
                continue
            whole = reader.rest(f"messages/{said['id']}").json()
            ask.same(who, f"all of {name}", "messages and messages/<id>", whole, said)
            ask.same(who, f"status of {name}", "messages", said["status"], one.status)
            ask.same(who, f"flow of {name}", "messages", said["flow"], one.flow)
            ask.same(who, f"events of {name}", "messages", said["event_count"], one.events)
            ask.same(who, f"first event of {name}", "messages", stamp(said["started_at"]), ask.at(one.first))
            ask.same(who, f"keys of {name}", "messages", said["keys"], one.keys)
            ask.same(
                who,
                f"error of {name}",
                "messages",
                (said["error_type"], said["error_message"]),
                one.error or (None, None),
            )
            ask.same(who, f"whether {name} has a group", "messages", bool(said["group"]), bool(one.cause))
            if not one.letters:
                ask.same(who, f"last event of {name}", "messages", stamp(said["last_seen_at"]), ask.at(one.last))
            row = rows[said["id"]]
            ask.same(who, f"status of {name}", "/messages/", one.status in row.said, True)
            ask.same(who, f"events of {name}", "/messages/", row.cells["events"], str(one.events))
            if ask.pages:
                _message_page(ask, who, name, one, said)
        hidden = [one for one in ask.estate.flow_of if one not in true]
        for name in hidden:
            answer = reader.page(f"/m/{quote(uid(name))}")
            ask.same(who, f"page of the hidden {name}", "/m/<id>", answer.status_code, 404)


def _message_page(ask: Asking, who: str, name: str, true: Seen, told: dict[str, Any]) -> None:
    facts = Page(ask.readers[who].page(f"/messages/{told['id']}/")).facts()
    ask.same(who, f"events of {name}", "/messages/<id>/", text_of(facts["Events"]), str(true.events))
    ask.same(who, f"first event of {name}", "/messages/<id>/", time_of(facts["First seen"]), ask.at(true.first))
    ask.same(who, f"last of {name}", "messages and page", time_of(facts["Last seen"]), stamp(told["last_seen_at"]))
    keys = {key: text_of(value) for key, value in facts.items() if key in (*KEYS[name], "shelf")}
    ask.same(who, f"keys of {name}", "/messages/<id>/", keys, true.keys)


def tell_events(ask: Asking) -> None:
    """Every event, once however often it came."""
    for who, reader in ask.everybody():
        true = Counter((one.about, one.flow, one.system, one.operation) for one in ask.estate.events_of(who))
        events = reader.results("events", window="7d")
        told = Counter((about(one["message_id"]), one["flow"], one["system"], one["operation"]) for one in events)
        ask.same(who, "events", "events", told, true)


# dead letters -----------------------------------------------------------------------------------------------------------


def tell_letters(ask: Asking) -> None:
    """Dead letters by state, flow and queue: the list, its tabs, each letter, the rail."""
    for who, reader in ask.everybody():
        letters = ask.estate.letters_of(who)
        waiting = [one for one in letters if not one.closed]
        _tabs(ask, who, letters)
        for one in reader.results("dead-letters"):
            detail = Page(reader.page(f"/dead-letters/{one['id']}/"))
            ask.same(
                who,
                "a letter's keys",
                "/dead-letters/<id>/",
                all(value in detail.text for value in one["keys"].values()),
                True,
            )
        counted = Page(reader.page("/dead-letters/")).root.xpath(
            "//nav[@class='rail']/a[contains(@href, 'dead-letters')]/b"
        )
        ask.same(
            who,
            "letters that wait",
            "the rail",
            [text_of(one) for one in counted],
            [str(len(waiting))] if waiting else [],
        )
        for flow in ask.estate.flows_of(who):
            told = reader.results("dead-letters", q=f"flow:{flow} status:waiting")
            ask.same(
                who,
                f"letters of {flow}",
                "dead-letters?q",
                len(told),
                len([one for one in waiting if one.flow == flow]),
            )


def _tabs(ask: Asking, who: str, letters: list[Letter]) -> None:
    reader = ask.readers[who]
    tabs: dict[str, tuple[list[Letter], str]] = {
        "waiting": ([one for one in letters if not one.closed], "status:waiting"),
        "closed": ([one for one in letters if one.closed], "status:closed"),
        "all": (letters, ""),
    }
    for tab, (true, q) in tabs.items():
        told = Counter((one["flow"], one["queue"]) for one in reader.results("dead-letters", q=q))
        by_queue = Counter((one.flow, one.queue) for one in true)
        ask.same(who, f"{tab} letters by flow and queue", "dead-letters", told, by_queue)
        page = Page(reader.page("/dead-letters/", state=tab))
        shown = sorted(one.times[-1] for one in page.rows("letter-list")) if true else []
        ask.same(who, f"{tab} letters", "/dead-letters/", shown, sorted(str(ask.at(one.ago)) for one in true))


# journeys ---------------------------------------------------------------------------------------------------------------


def tell_journey(ask: Asking) -> None:
    """The journey of O-1: its events and their ties, its hops and how long each took, for each reader what they may see of it."""
    for who, reader in ask.everybody():
        tied = [one for one in ask.estate.events_of(who) if one.trace or one.about == "I-1"]
        by_key = any(one.trace and "order_no" in one.keys for one in tied)
        tied = sorted((one for one in tied if one.trace or by_key), key=lambda one: -one.ago)
        told = reader.rest(f"journeys/{TRACE}").json()
        steps = [(one["system"], stamp(one["at"]), one["evidence"]["strength"]) for one in told["steps"]]
        ask.same(
            who,
            "steps and ties",
            "journeys/<trace>",
            steps,
            [(one.system, ask.at(one.ago), "strong" if one.trace else "weak") for one in tied],
        )
        hops = _hops(tied)
        said = {
            (one["sender"], one["receiver"]): (
                one["queue"]["median_us"] // 1000,
                one["processing"]["median_us"] // 1000,
            )
            for one in told["hops"]
        }
        ask.same(who, "hops in ms", "journeys/<trace>", said, hops)
        systems = list(dict.fromkeys(one.system for one in tied))
        ask.same(who, "stations", "journeys/<trace>", [one["system"] for one in told["stations"]], systems)
        page = Page(reader.page(f"/j/{TRACE}"))
        ask.same(
            who, "events and systems", "/j/<trace>", f"{len(tied)} events in {len(systems)} systems" in page.text, True
        )
        rows = page.rows("hops") if hops else []
        ask.same(who, "hops", "/j/<trace>", [one.cells["messages"] for one in rows], ["1"] * len(hops))
        if ask.pages:
            _journeys_alone(ask, who)


def _hops(tied: list[Event]) -> dict[tuple[str, str], tuple[int, int]]:
    """Return {(sender, receiver): (ms in the queue, ms of processing)}."""
    sent = {one.about: one for one in tied if one.operation == "send"}
    return {
        (sent[one.about].system, one.system): (
            round((sent[one.about].ago - one.ago) * 60_000) - sent[one.about].took_ms,
            one.took_ms,
        )
        for one in tied
        if one.operation == "process" and one.about in sent
    }


def _journeys_alone(ask: Asking, who: str) -> None:
    """What is tied to nothing else has the journey of its own events and letters."""
    reader = ask.readers[who]
    for one in ask.estate.messages(who):
        if one.about in ("I-1", "O-2", "O-2 again") or any(two.trace for two in ask.estate.about(one.about)):
            continue
        row = reader.results("messages", q=f'message_id:"{uid(one.about)}"')[0]
        told = reader.rest(f"messages/{row['id']}/journey").json()
        of = f"of the journey of {one.about}"
        ask.same(who, f"events {of}", "messages/<id>/journey", told["total"], one.events)
        of_its_number = [
            letter for letter in ask.estate.letters_of(who) if not letter.named and letter.about == one.about
        ]
        letters = one.letters + len(of_its_number)
        ask.same(who, f"letters {of}", "messages/<id>/journey", len(told["dead_letters"]), letters)


# searches ---------------------------------------------------------------------------------------------------------------

QUERIES: dict[str, Callable[[Seen], bool]] = {
    "status:moving": lambda one: one.status == "moving",
    "status:delivered": lambda one: one.status == "delivered",
    "status:failed": lambda one: one.status == "failed",
    "status:dead": lambda one: one.status == "dead",
    "status:(failed OR dead)": lambda one: one.status in ("failed", "dead"),
    "NOT status:delivered": lambda one: one.status != "delivered",
    "flow:ex.orders": lambda one: one.flow == "ex.orders",
    "flow:q.stock": lambda one: one.flow == "q.stock",
    "-flow:ex.orders": lambda one: one.flow != "ex.orders",
    "via:q.erp": lambda one: "q.erp" in one.via,
    "via:q.stock": lambda one: "q.stock" in one.via,
    "via:prices status:failed": lambda one: "prices" in one.via and one.status == "failed",
    "system:erp": lambda one: "erp" in one.systems,
    "system:wms": lambda one: "wms" in one.systems,
    "system:shop -system:erp": lambda one: "shop" in one.systems and "erp" not in one.systems,
    "destination:q.stock": lambda one: "q.stock" in one.via,
    "order_no:O-1": lambda one: one.keys.get("order_no") == "O-1",
    "order_no:(O-2 OR O-3)": lambda one: one.keys.get("order_no") in ("O-2", "O-3"),
    "customer_no:C-1": lambda one: one.keys.get("customer_no") == "C-1",
    "customer_no:*": lambda one: "customer_no" in one.keys,
    'shelf:"shelf of O-5"': lambda one: one.keys.get("shelf") == "shelf of O-5",
    "shelf:*": lambda one: "shelf" in one.keys,
    "NOT shelf:*": lambda one: "shelf" not in one.keys,
    "error:answer": lambda one: bool(one.error and "answer" in one.error[1]),
    "error:shelf": lambda one: bool(one.error and "shelf" in one.error[1]),
    "error:*": lambda one: bool(one.error),
    "NOT error:*": lambda one: not one.error,
    "class:ErpTimeout": lambda one: bool(one.error and one.error[0] == "ErpTimeout"),
    "class:StockMissing": lambda one: bool(one.error and one.error[0] == "StockMissing"),
    "age:>150min": lambda one: one.age > 150.5,
    "age:[95min TO 255min]": lambda one: 95 < one.age < 255,
    "at:[now-110min TO now]": lambda one: one.age < 110,
    "duration:>=5min": lambda one: one.took >= 5,
    "duration:<90s": lambda one: one.took < 1.5,
    "group:*": lambda one: bool(one.cause),
    "NOT group:*": lambda one: not one.cause,
    "reason:rejected": lambda one: one.letters > 0,
    "(customer_no:C-1 OR error:gateway) -status:delivered": lambda one: bool(
        (one.keys.get("customer_no") == "C-1" or (one.error and "gateway" in one.error[1])) and one.status != "delivered"
    ),
}  # fmt: skip
OF_LETTERS: dict[str, Callable[[Letter], bool]] = {
    "status:waiting": lambda one: not one.closed,
    "status:discarded": lambda one: one.closed,
    "flow:q.erp": lambda one: one.flow == "q.erp",
    "queue:dlt": lambda one: one.queue == "prices.DLT",
    "system:erp": lambda one: one.system == "erp",
    "order_no:O-3": lambda one: one.about == "O-3",
    "price_no:P-3": lambda one: one.about == "P-3",
    "class:BadPrice": lambda one: one.error[0] == "BadPrice",
    "died_of:rejected -broker:kafka": lambda one: one.named,
}


def tell_searches(ask: Asking) -> None:
    """What each query finds, as a list of REST and as a page."""
    for who, reader in ask.everybody():
        messages, letters = ask.estate.messages(who), ask.estate.letters_of(who)
        for q, fits in QUERIES.items():
            true = sorted(one.about for one in messages if fits(one))
            told = sorted(about(one["message_id"]) for one in reader.results("messages", q=q, window="7d"))
            ask.same(who, q, "messages?q", told, true)
            if ask.pages:
                page = Page(reader.page("/messages/", q=q, window="7d"))
                ask.same(who, q, "/messages/?q", len(page.rows("message-list")), len(true))
        for flow in ask.estate.flows_of(who):
            page = Page(reader.page("/messages/", flow=flow, window="7d"))
            ask.same(
                who,
                f"messages of {flow}",
                "/messages/?flow",
                len(page.rows("message-list")),
                len([one for one in messages if one.flow == flow]),
            )
        for q, of in OF_LETTERS.items():
            true = sorted(ask.at(one.ago) or "" for one in letters if of(one))
            told = sorted(stamp(one["failed_at"]) or "" for one in reader.results("dead-letters", q=q))
            ask.same(who, q, "dead-letters?q", told, true)
            if ask.pages:
                page = Page(reader.page("/dead-letters/", q=q, state="all"))
                ask.same(who, q, "/dead-letters/?q", len(page.rows("letter-list")), len(true))


def tell_causes_by_search(ask: Asking) -> None:
    """What `group:G-…` finds is what belongs to the group."""
    for who, reader in ask.everybody():
        groups = {
            (one["flow"], one["step"], one["heading"]): one["reference"] for one in reader.results("groups", show="all")
        }
        for cause in ask.estate.groups(who):
            name = (cause[0], cause[1], heading(cause))
            if name not in groups:
                continue  # tell_groups says so
            q = f"group:{groups[name]}"
            told = sorted(about(one["message_id"]) for one in reader.results("messages", q=q))
            ask.same(
                who,
                f"messages of {name}",
                "messages?q=group:",
                told,
                sorted(one.about for one in ask.estate.messages(who) if one.cause == cause),
            )
            letters = reader.results("dead-letters", q=q)
            true = sorted(one.about for one in ask.estate.letters if cause_of_letter(one) == cause)
            ask.same(
                who,
                f"letters of {name}",
                "dead-letters?q=group:",
                sorted(one["keys"].get("order_no") or one["keys"]["price_no"] for one in letters),
                true,
            )
