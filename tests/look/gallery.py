"""Every component on one page with sample data, written as files: what the browser tests and a pair of eyes look at."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from django.contrib.messages.storage.base import Message
from django.template import engines
from django.template.loader import render_to_string
from django.test import RequestFactory, override_settings
from django.utils.safestring import SafeString

from console.core.charts import Bar, Mark, Series, Share, line_chart, spark, stacked, waterfall
from console.core.words import CHIPS

ROOT = Path(__file__).resolve().parent.parent.parent
PLAIN_STATIC = {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
RAIL = [
    ("Overview", "house", "/", "", False),
    ("Messages", "panels-top-left", "/messages/", "", False),
    ("Dead letters", "package-x", "/dead-letters/", "214", False),
    ("Flows", "route", "/flows/", "", True),
    ("Connections", "plug", "/connections/", "", False),
    ("Agents", "radio-tower", "/agents/", "", False),
    ("Audit", "file-text", "/audit/", "", True),
    ("Settings", "settings", "/settings/", "", False),
    ("Demo estate", "toggle-right", "/demo/", "", False),
]


def frame(path: str, *, colour: str = "red", signed_in: bool = True) -> dict[str, Any]:
    """Return the context of the frame, without a database."""
    request = RequestFactory().get(path)
    request.user = SimpleNamespace(  # type: ignore[assignment]
        is_authenticated=signed_in, get_username=lambda: "ops-eu", get_full_name=lambda: ""
    )
    request.htmx = False  # type: ignore[attr-defined]
    production = SimpleNamespace(slug="production", name="production", colour=colour)
    staging = SimpleNamespace(slug="staging", name="staging", colour="blue")
    return {
        "request": request,
        "csrf_token": "token",
        "environment": production if signed_in else None,
        "environments": [production, staging],
        "window": "24h",
        "nav": [
            SimpleNamespace(
                label=label, icon=icon, url=url, count=count, hot=bool(count), rule=rule, current=url == path
            )
            for label, icon, url, count, rule in RAIL
        ],
    }


def sample(now: datetime) -> dict[str, Any]:
    """Return the sample data of gallery.html."""
    at = now - timedelta(minutes=42)
    instants = [now - timedelta(minutes=15 * (95 - i)) for i in range(96)]
    delivered = [40 + (i * 7) % 11 if i < 80 else 24 + i % 5 for i in range(96)]
    failed = [0 if i < 80 else 12 for i in range(96)]
    attempt = 30_000_000
    return {
        "at": at,
        "stations": [
            SimpleNamespace(system="shop", state="passed", note="created", hop_us=43_000),
            SimpleNamespace(system="order-service", state="passed", note="accepted", hop_us=92_000_000),
            SimpleNamespace(system="erp", state="failed", note="failed, 3 attempts", hop_us=None),
            SimpleNamespace(system="billing", state="idle", note="not reached", hop_us=None),
            SimpleNamespace(system="shipping", state="idle", note="not reached", hop_us=None),
        ],
        "fall": waterfall(
            [
                Bar(
                    label="deployed: erp 4.2.1",
                    offset_us=0,
                    duration_us=0,
                    look="earlier",
                    url="/x",
                    took="4 min before",
                ),
                Bar(
                    label="configuration changed: erp limits",
                    offset_us=33_000_000,
                    duration_us=0,
                    look="change",
                    url="/x",
                ),
                Bar(label="shop publish orders", offset_us=0, duration_us=12_000, tie="trace", url="#e1"),
                Bar(label="queue orders.new", offset_us=12_000, duration_us=31_000, look="queue"),
                Bar(label="order-service process", offset_us=43_000, duration_us=2_400_000, tie="link"),
                Bar(label="queue erp.orders", offset_us=2_443_000, duration_us=1_800_000, look="queue"),
                *[
                    Bar(
                        label=f"erp process · attempt {n}",
                        offset_us=4_300_000 + n * attempt,
                        duration_us=attempt,
                        look="bad",
                        tie="order_no=4711-2209",
                    )
                    for n in range(3)
                ],
                Bar(
                    label="dead letter erp.orders.dlq",
                    offset_us=94_300_000,
                    duration_us=0,
                    look="bad",
                    tie="message id",
                ),
            ]
        ),
        "lines": [
            SafeString('<span class="p">{</span>'),
            SafeString('  <span class="nt">"order_no"</span>: <span class="s2">"4711-2209"</span>,'),
            SafeString(
                '  <span class="nt">"customer"</span>: { <span class="nt">"id"</span>: <span class="mi">90314</span>,'
            ),
            SafeString('    <span class="nt">"vat_number"</span>: <span class="kc">null</span> }'),
            SafeString('<span class="p">}</span>'),
        ],
        "chart": line_chart(
            instants,
            [Series(name="delivered", look="move", values=delivered), Series(name="failed", look="bad", values=failed)],
            label="Messages a minute, last 24 hours",
            marks=[
                Mark(at=instants[8], until=instants[16], label="ERP patch day", kind="maintenance"),
                *[Mark(at=instants[44], label=f"order-service 3.9.{n}", kind="deployment") for n in range(3)],
                Mark(at=instants[52], label="shop 8.3.0", kind="deployment"),
                Mark(at=instants[80], label="erp 4.2.1", kind="deployment"),
            ],
        ),
        "entries": [
            {"at": at, "text": "shop published to orders"},
            {"at": at, "look": "bad", "text": "erp rejected it for good after 3 attempts: read time-out"},
            {"at": at, "look": "warn", "text": "worker lost between send and mark"},
            {
                "at": at,
                "look": "move",
                "strong": "ops-eu",
                "text": "replayed it to erp.orders",
                "quote": "erp 4.2.2 is out",
            },
            {
                "at": now,
                "look": "good",
                "strong": "processed:",
                "text": "erp reported success,",
                "url": "/x",
                "link": "see the event",
            },
        ],
        "facts": [
            {"label": "Broker", "value": "rabbit-eu, RabbitMQ"},
            {"label": "Queue", "value": "erp.orders.dlq", "id": True},
            {"label": "Attempts", "value": 3},
            {"label": "Failed", "at": at},
            {
                "label": "Trace",
                "value": "4bf92f3577b34da6a3ce929d0e0e4736",
                "id": True,
                "url": "/j/4bf9",
                "copy_text": "4bf92f3577b34da6a3ce929d0e0e4736",
            },
        ],
        "states": [(kind, state) for kind, states in CHIPS.items() for state in states],
        "quick": [
            {"label": "Waiting", "query": "?", "count": "214", "current": True},
            {"label": "Replaying", "query": "?q=state:replaying", "count": "3"},
            {"label": "Closed", "query": "?q=state:closed"},
        ],
        "selects": [
            {"name": "flow", "label": "Flow", "value": "", "options": [("", "every flow"), ("1", "orders: shop → erp")]}
        ],
        "numbers": ["4711-2209", "4711-2214", "4711-2230", "4711-2231"],
        "spark": spark(
            [1, 2, 1, 3, 2, 1, 1, 2, 2, 1, 3, 2, 1, 2, 1, 1, 2, 3, 1, 2, 1, 14, 15, 22],
            bad=[False] * 21 + [True] * 3,
            marks=[(20, "deployed: erp 4.2.1")],
        ),
        "page": SimpleNamespace(rows=[1, 2, 3, 4], next="abc"),
        "pieces": stacked(
            [
                Share(name="processed, proved by erp", look="good", count=41),
                Share(name="sent or confirmed", look="move", count=9),
                Share(name="unknown", look="warn", count=3),
                Share(name="failed again", look="bad", count=2),
                Share(name="waiting", look="", count=126),
            ]
        ),
        "curl": "curl -sS http://127.0.0.1:8000/ingest/v1/events \\\n"
        "  -H 'Authorization: Bearer wba_0123456789abcdef0123456789abcdef' \\\n  -H 'Content-Type: application/json' -d '[{\"id\": \"hello-1\"}]'",
    }


def write_gallery(folder: Path) -> None:
    """Write every page of the look below `folder`, with the static files beside them."""
    from django_htmx import __file__ as htmx

    shutil.copytree(ROOT / "static", folder / "static", dirs_exist_ok=True)
    shutil.copytree(Path(htmx).parent / "static", folder / "static", dirs_exist_ok=True)
    now = datetime.now(UTC)
    with override_settings(STORAGES=PLAIN_STATIC):
        pages = {
            "gallery": _gallery(now, {}),
            "refused": _gallery(now, {"confirm_error": "Say why: a reason is needed."}),
            "sign-in": _page(
                "registration/login.html", frame("/sign-in/", signed_in=False) | {"next": "/messages/", "form": _form()}
            ),
            "locked": _page("registration/locked.html", frame("/sign-in/", signed_in=False)),
            "404": _page(
                "errors/404.html", frame("/x") | {"detail": "There is nothing here, or nothing that you may see."}
            ),
            "403": _page(
                "errors/403.html",
                frame("/x", signed_in=False)
                | {"detail": "This form has grown old. Go back, reload the page and press again."},
            ),
            "409": _page(
                "errors/409.html", frame("/x", colour="teal") | {"detail": "The dead letter is not open any more."}
            ),
            "500": render_to_string(
                "errors/500.html", {"detail": "The console failed to answer. It is logged; try again."}
            ),
            "live": _page_of("live.html", frame("/messages/")),
            "503": render_to_string("errors/503.html", {"detail": "The database does not answer."}),
        }
    for name, html in pages.items():
        (folder / f"{name}.html").write_text(html)


def _page(name: str, context: dict[str, Any]) -> str:
    return render_to_string(name, context, context["request"])


def _page_of(source: str, context: dict[str, Any]) -> str:
    template = engines["django"].from_string((ROOT / "tests/look" / source).read_text())
    return str(template.render(context, context["request"]))


def _form() -> SimpleNamespace:
    return SimpleNamespace(non_field_errors=["wrong"], username=SimpleNamespace(value="ops-eu"))


def _gallery(now: datetime, more: dict[str, Any]) -> str:
    engine = engines["django"]
    source = (
        (ROOT / "tests/look/gallery.html")
        .read_text()
        .replace('actions="tests/pick_actions.html"', "actions=pick_actions")
    )
    actions = engine.from_string((ROOT / "tests/look/pick_actions.html").read_text()).template
    context = frame("/dead-letters/") | sample(now) | more
    context["messages"] = [
        Message(25, "Order 4711-2214 is discarded."),
        Message(40, "The broker refused order 4711-2231."),
    ]
    return str(engine.from_string(source).render(context | {"pick_actions": actions}, context["request"]))
