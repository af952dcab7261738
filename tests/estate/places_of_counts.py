"""Every place that counts: groups, the overview, flows, figures, the map, reconciliations."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from messages.reconcile.evaluating import reconcile
from tests.estate.asking import Asking, Page, stamp, text_of, time_of
from tests.estate.happenings import Event
from tests.estate.model import Cause, Reach, heading, percentile, reach_words

DASH = "–"
SHARES = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}
LISTED = [f"O-{number}" for number in (1, 2, 3, 4, 5, 6, 7, 8, 9, 99)]
PRICED = ["P-1", "P-2", "P-3", "P-9"]


def name_of(cause: Cause) -> tuple[str, str, str]:
    return cause[0], cause[1], heading(cause)


# groups -----------------------------------------------------------------------------------------------------------------


def tell_groups(ask: Asking) -> None:
    """What each failure group says: in the lists, by itself, on the overview."""
    for who, reader in ask.everybody():
        true = {name_of(cause): reach for cause, reach in ask.estate.groups(who).items()}
        told = {(one["flow"], one["step"], one["heading"]): one for one in reader.results("groups", show="all")}
        ask.same(who, "groups", "groups?show=all", sorted(told), sorted(true))
        failing = {name: one for name, one in true.items() if one.waiting}
        listed = reader.results("groups")
        ask.same(
            who,
            "groups that fail",
            "groups",
            sorted((one["flow"], one["step"], one["heading"]) for one in listed),
            sorted(failing),
        )
        pages = {one.href.split("/")[2]: one for one in Page(reader.page("/groups/", show="all")).rows("groups")}
        ask.same(who, "groups", "/groups/?show=all", sorted(pages), sorted(one["reference"] for one in told.values()))
        ask.same(who, "groups that fail", "/groups/", len(Page(reader.page("/groups/")).rows("groups")), len(failing))
        for name in true.keys() & told.keys():
            _group(ask, who, name, true[name], told[name], pages[told[name]["reference"]])
        verdict = Page(reader.page("/groups/")).verdict()
        flows = {name[0] for name in failing}
        said = re.search(r"(\d+) causes? in (\d+) flows?", verdict)
        ask.same(
            who,
            "causes and flows",
            "the sentence of /groups/",
            said and (int(said[1]), int(said[2])),
            (len(failing), len(flows)),
        )
        _overview(ask, who, failing)


def _group(ask: Asking, who: str, name: tuple[str, str, str], true: Reach, told: dict[str, Any], row: Any) -> None:
    reader, amounts = ask.readers[who], {key: str(value) for key, value in true.amounts.items()}
    named = ("customers", "documents", "customers_partial", "documents_partial", "amounts_partial")
    numbers: dict[str, Any] = {"letters": true.letters, "failed_messages": true.failed, "waiting": true.waiting}
    numbers |= {"amounts": amounts, **{one: getattr(true, one) for one in named}}
    whole = reader.rest(f"groups/{told['reference']}").json()
    for number, value in numbers.items():
        ask.same(who, f"{number} of {name}", "groups", told[number], value)
        ask.same(who, f"{number} of {name}", "groups/<reference>", whole[number], value)
    ask.same(who, f"oldest of {name}", "groups/<reference>", stamp(whole["oldest_at"]), ask.at(true.oldest))
    ask.same(
        who,
        f"reach of {name}",
        "groups/<reference>",
        whole["reach"],
        reach_words(true, "price" if name[0] == "prices" else "order"),
    )
    path = f"groups/{told['reference']}"
    ask.same_hours(who, f"hours of {name}", "groups/<reference>", lambda: reader.rest(path).json()["hours"], true)
    failures = len([one for one in true.failures if one < 1440])
    ask.same(
        who, f"failures of {name}", "the spark of /groups/", row.labels, [f"failed by hour, last 24 hours: {failures}"]
    )
    for number in ("waiting", "customers", "documents"):
        shown = row.cells[number].replace(DASH, "0")
        expected = f"{numbers[number]}{'+' * getattr(true, f'{number}_partial', False)}"
        ask.same(who, f"{number} of {name}", "/groups/", shown, expected)
    ask.same(who, f"oldest of {name}", "/groups/", row.times[-1:], [one for one in [ask.at(true.oldest)] if one])
    money = Decimal(re.sub(r"[€,]|at least", "", row.cells["amount"]).replace(DASH, "0"))
    ask.same(who, f"amount of {name}", "/groups/", money, sum(true.amounts.values(), Decimal(0)))
    for number, ago in (("first_seen_at", true.first), ("last_seen_at", true.last)) if not ask.looked else ():
        ask.same(who, f"{number} of {name}", "groups/<reference>", stamp(whole[number]), ask.at(ago))
    if ask.pages:
        _group_page(ask, who, name, true, whole)


def _group_page(ask: Asking, who: str, name: tuple[str, str, str], true: Reach, told: dict[str, Any]) -> None:
    path = f"/groups/{told['reference']}/"
    page = Page(ask.readers[who].page(path))
    where = "the chart of /groups/<reference>/"
    ask.same_hours(who, f"hours of {name}", where, lambda: bars_of(Page(ask.readers[who].page(path))), true)
    for number, label in (("first_seen_at", "First seen"), ("last_seen_at", "Last seen")):
        ask.same(who, f"{number} of {name}", "/groups/<reference>/", time_of(page.facts()[label]), stamp(told[number]))
    letters = page.rows("group-letters")
    ask.same(who, f"letters of {name}", "/groups/<reference>/", len(letters), true.letters)
    link = [
        text_of(one)
        for one in page.root.get_element_by_id("group-letters").iterfind(".//a")
        if "without a letter" in text_of(one)
    ]
    ask.same(
        who,
        f"failed messages of {name}",
        "/groups/<reference>/",
        [int(one.split()[0]) for one in link],
        [true.failed] if true.failed else [],
    )


def bars_of(page: Page) -> list[int]:
    return [int(text_of(one).split(": ")[1].split()[0]) for one in page.root.xpath("//rect[@class='hit']/title")]


def _overview(ask: Asking, who: str, failing: dict[tuple[str, str, str], Reach]) -> None:
    reader = ask.readers[who]
    (told,) = reader.rest("overview").json()
    page = Page(reader.page("/"))
    waiting = sum(one.waiting for one in failing.values())
    flows = len({name[0] for name in failing})
    ask.same(who, "what waits", "overview", told["waiting"], waiting)
    ask.same(who, "flows that fail", "overview", told["flows_failing"], flows)
    said = re.search(r"(\d+) flows? (?:is|are) failing\. (\d+) message", page.verdict())
    ask.same(who, "flows and what waits", "the sentence of /", said and (int(said[1]), int(said[2])), (flows, waiting))
    by_title = Counter(
        (one["flow"], one["title"], one["waiting"], one["failed_messages"], stamp(one["oldest_at"]))
        for one in told["failing"]
    )
    true = Counter((name[0], name[2], one.waiting, one.failed, ask.at(one.oldest)) for name, one in failing.items())
    ask.same(who, "what fails", "overview", by_title, true)
    rows = Counter(
        (one.first, int(one.cells["waiting"]), one.times[-1]) for one in page.rows() if one.href.startswith("/groups/")
    )
    ask.same(
        who,
        "what fails",
        "/",
        rows,
        Counter((name[2], one.waiting, ask.at(one.oldest)) for name, one in failing.items()),
    )
    for name, one in failing.items():
        if one.failed:  # of letters alone it has those that wait
            ask.same_hours(who, f"hours of {name}", "overview", lambda name=name: _hours_told(ask, who, name), one)


def _hours_told(ask: Asking, who: str, name: tuple[str, str, str]) -> list[int]:
    (told,) = ask.readers[who].rest("overview").json()
    steps = {one["reference"]: one["step"] for one in ask.readers[who].results("groups")}
    of_name = (one for one in told["failing"] if (one["flow"], steps[one["group"]], one["title"]) == name)
    return list(next(of_name, {"hours": []})["hours"])


# flows ------------------------------------------------------------------------------------------------------------------


def tell_flows(ask: Asking) -> None:
    """What went through each flow and what waits: its line, its page, REST, its figures; and of all together."""
    now = datetime.now(UTC)
    day = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=24)
    for who, reader in ask.everybody():
        flows = {one["name"]: one["id"] for one in reader.results("flows")}
        ask.same(who, "flows", "flows", sorted(flows), ask.estate.flows_of(who))
        lines = {one.first: one for one in Page(reader.page("/flows/")).rows("flows")}
        ask.same(who, "flows", "/flows/", sorted(lines), ask.estate.flows_of(who))
        for name, pk in flows.items():
            events = [one for one in ask.estate.events_of(who) if one.flow == name]
            delivered, failed, _ = ask.estate.figures(events, day, now)
            letters, messages, oldest = ask.estate.waiting(who, name)
            said = reader.rest(f"flows/{pk}/figures").json()
            true = {
                "delivered": delivered,
                "failed": failed,
                "waiting": letters + messages,
                "failed_messages": messages,
            }
            for number, value in true.items():
                ask.same(who, f"{number} of {name}", "flows/<id>/figures", said[number], value)
            ask.same(who, f"oldest of {name}", "flows/<id>/figures", stamp(said["oldest_at"]), ask.at(oldest))
            line = lines[name]
            shown = Page(reader.page(f"/flows/{pk}/")).figures() if ask.pages else {}
            for number, label in (
                ("delivered", "Delivered, 24 h"),
                ("failed", "Failed, 24 h"),
                ("waiting", "Waiting for a person"),
            ):
                ask.same(who, f"{number} of {name}", "/flows/", line.cells[number], str(true[number]))
                if ask.pages:
                    ask.same(who, f"{number} of {name}", "/flows/<id>/", shown[label], str(true[number]))
            ask.same(who, f"oldest of {name}", "/flows/", line.times, [one for one in [ask.at(oldest)] if one])
            systems = Counter(
                (one["system"], one["operation"], one["destination"], one["count"], one["failed"])
                for one in reader.results_of(f"flows/{pk}/systems")
            )
            ask.same(who, f"systems of {name}", "flows/<id>/systems", systems, ask.estate.systems_of(name, day))
            _figures(ask, who, events, flow=pk, name=name)
        _figures(ask, who, ask.estate.events_of(who))
        went = Counter(one.flow for one in ask.estate.events_of(who) if one.at(ask.estate.now) >= day)
        ask.same(
            who,
            "events by destination",
            "rules/destinations",
            {one["destination"]: one["count"] for one in reader.results_of("rules/destinations")},
            went,
        )
        _strip(ask, who)


def _figures(ask: Asking, who: str, events: list[Event], *, flow: int | None = None, name: str = "all flows") -> None:
    reader, narrowed = ask.readers[who], {"flow": flow} if flow else {}
    for window in ("24h", "7d"):
        (told,) = reader.results_of("figures", window=window, **narrowed)
        since, until = (datetime.fromisoformat(told[end]) for end in ("since", "until"))
        delivered, failed, took = ask.estate.figures(events, since, until)
        total, steps = told["total"], told["steps"]
        ask.same(
            who,
            f"delivered and failed of {name}",
            f"figures?window={window}",
            (total["delivered"], total["failed"]),
            (delivered, failed),
        )
        ask.same(
            who, f"sum of the steps of {name}", f"figures?window={window}", sum(one["failed"] for one in steps), failed
        )
        by_step = {
            stamp(one["at"]): (one["delivered"], one["failed"]) for one in steps if one["delivered"] or one["failed"]
        }
        true = {}
        for number in range(len(steps)):
            at = since + number * timedelta(seconds=told["step_s"])
            of_step = ask.estate.figures(events, at, at + timedelta(seconds=told["step_s"]))[:2]
            true |= {stamp(at): of_step} if any(of_step) else {}
        ask.same(who, f"steps of {name}", f"figures?window={window}", by_step, true)
        for number, share in SHARES.items():
            ask.same(
                who,
                f"{number} of {name}",
                f"figures?window={window}",
                is_near(total[number], percentile(took, share)),
                True,
            )
        if ask.pages:
            page = Page(reader.page("/figures/", window=window, **({"flow": name} if flow else {}))).figures()
            shown = (page["Delivered"], page["Failed"])
            ask.same(who, f"figures of {name}", f"/figures/?window={window}", shown, (str(delivered), str(failed)))


def is_near(told: float | None, true: int | None) -> bool:
    """Whether a percentile of buckets of 1, 2, 4 … ms may stand for the true one: in its bucket."""
    if told is None or true is None:
        return told is true
    return 2 ** (true.bit_length() - 1) <= told <= 2 ** true.bit_length() if true else 0 <= told <= 1


def _strip(ask: Asking, who: str) -> None:
    """The figures of the overview are those of the page Figures."""
    now = datetime.now(UTC)
    delivered, failed, _ = ask.estate.figures(ask.estate.events_of(who), now - timedelta(hours=24), now)
    shown = Page(ask.readers[who].page("/")).figures()
    ask.same(who, "delivered", "the figures of /", shown["Delivered, 24 h"], str(delivered))
    ask.same(who, "failed", "the figures of /", shown["Failed, 24 h"], str(failed))
    said = Page(ask.readers[who].page("/figures/", window="24h")).figures()
    ask.same(who, "p95", "/ and /figures/", shown["p95 of the time to process"], said["p95 of the time to process"])
    (told,) = ask.readers[who].rest("overview").json()
    rates = [round(15 * sum(one[number] for one in told["rates"])) for number in ("delivered", "failed")]
    ask.same(who, "messages a minute", "overview", rates, [delivered, failed])
    ask.same(
        who,
        "share that failed",
        "the figures of /",
        shown["Share that failed"],
        f"{100 * failed / (delivered + failed):.1f} %",
    )


# the map ----------------------------------------------------------------------------------------------------------------


def tell_map(ask: Asking) -> None:
    """Systems, and what goes between them."""
    for who, reader in ask.everybody():
        (told,) = reader.results_of("topology", window="7d")
        systems = [one for one in told["systems"] if one["kind"] == "system"]
        counted = {
            one["name"]: tuple(one[name] for name in ("sent", "taken", "processed", "failed", "waiting"))
            for one in systems
        }
        ask.same(who, "systems", "topology", counted, ask.estate.stations(who))
        names = {one["key"]: one["name"] if one["kind"] == "system" else "" for one in told["systems"]}
        lines = Counter(
            (names[one["sender"]], names[one["receiver"]], one["flow"], one["count"], one["failed"])
            for one in told["connections"]
        )
        ask.same(who, "lines", "topology", lines, ask.estate.lines(who))
        page = Page(reader.page("/topology/", window="7d"))
        shown = {one.first: (one.cells["failed"], one.cells["waiting"]) for one in page.rows("systems")}
        ask.same(
            who,
            "systems",
            "/topology/",
            shown,
            {name: (str(one[3]), str(one[4])) for name, one in ask.estate.stations(who).items()},
        )
        drawn = Counter(
            (
                row.cells["from"].removeprefix("unknown sender"),
                row.cells["to"].removeprefix("unknown receiver"),
                row.cells[2],
                int(row.cells["tries"].removeprefix("about ")),
                int(row.cells["failed"].removeprefix("about ")),
            )
            for row in page.rows("connections")
        )
        ask.same(who, "lines", "/topology/", drawn, ask.estate.lines(who))


# reconciliations --------------------------------------------------------------------------------------------------------


def tell_reconciliations(ask: Asking) -> None:
    """What became of a list of keys: counts and sets, in REST and on pages, and who may see it."""
    now = ask.estate.now
    period = {"since": (now - timedelta(hours=24)).isoformat(), "until": (now + timedelta(hours=1)).isoformat()}
    lists = {
        "ex.orders": ("order_no", LISTED),
        "q.erp": ("order_no", LISTED),
        "q.stock": ("order_no", LISTED),
        "prices": ("price_no", PRICED),
    }
    made = {}
    for flow, (key, listed) in lists.items():
        body = {"environment": "production", "flow": flow, "key": key, "keys": listed, **period}
        made[flow] = ask.readers["administrator"].post("reconciliations", body).json()["id"]
    reconcile()
    for who, reader in ask.everybody():
        for flow, (key, listed) in lists.items():
            path = f"reconciliations/{made[flow]}"
            if not ask.estate.sees(who, flow):
                ask.same(
                    who,
                    f"a list of {flow}",
                    path,
                    (reader.rest(path).status_code, reader.page(f"/{path}/").status_code),
                    (404, 404),
                )
                continue
            _reconciled(ask, who, flow, made[flow], key, listed)


SETS = {
    "arrived": "arrived",
    "processed": "processed",
    "failed": "failed",
    "moving": "on-the-way",
    "never": "never-seen",
    "twice": "twice",
    "unlisted": "not-on-the-list",
}  # of REST: the number, the set


def _reconciled(ask: Asking, who: str, flow: str, made: str, key: str, listed: list[str]) -> None:
    reader, path = ask.readers[who], f"reconciliations/{made}"
    true, told = ask.estate.reconciled(flow, key, listed), reader.rest(path).json()
    shown = {one.cells[0]: one.cells["keys"] for one in Page(reader.page(f"/{path}/")).rows("sets")}
    for number, slug in SETS.items():
        keys = true[slug]
        assert isinstance(keys, set)
        of = f"{number} of {flow}"
        ask.same(who, of, "reconciliations/<id>", told[number], len(keys))
        ask.same(who, of, "…/keys?set", {one["key"] for one in reader.results(f"{path}/keys", set=slug)}, keys)
        label = slug.replace("-", " ").capitalize().replace("Twice", "Came twice")
        ask.same(who, of, "/reconciliations/<id>/", shown[label], str(len(keys)))
    ask.same(who, f"messages of {flow}", "reconciliations/<id>", told["messages"], true["messages"])
    q = f"reconciled:{made}.failed"
    failed = reader.results("messages", q=q) + reader.results("dead-letters", q=q)
    found = {one["keys"].get(key) for one in failed}
    visible = {one for one in true["failed"] if _is_found(ask, who, flow, key, one)}  # type: ignore[union-attr]
    ask.same(who, f"failed of {flow}", "?q=reconciled:", found & set(listed), visible)


def _is_found(ask: Asking, who: str, flow: str, key: str, value: str) -> bool:
    messages = [one for one in ask.estate.messages(who) if one.keys.get(key) == value]
    letters = [one for one in ask.estate.letters_of(who) if one.flow == flow and one.keys.get(key) == value]
    return bool(messages or letters)
