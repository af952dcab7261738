"""Stubs of the documented APIs of Slack, Teams, PagerDuty and Opsgenie: they keep their vendors' limits and refuse what those refuse.

Sources: api.slack.com (Block Kit, incoming webhooks, rate limits), Microsoft Learn (Workflows, 28 KB, four a second), PagerDuty's Events API
v2, Opsgenie's Alert API; reference/wire-facts.md §12 to §14.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

SLACK_PATH, TEAMS_PATH = (
    "/services/T0000/B0000/secretsecretsecret",
    "/workflows/abc/triggers/manual/paths/invoke?sig=secretsignature",
)
ROUTING_KEY, GENIE_KEY = "r0utingkey" + "0" * 22, "genie-key-4711"
Answer = tuple[int, str, dict[str, str]]


class Refused(Exception):
    def __init__(self, status: int, words: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(words)
        self.answer: Answer = (status, words, headers or {})


class Vendors:
    """What each took, and how often each was asked too fast. incidents, alerts: PagerDuty's and Opsgenie's, by key, with their state."""

    def __init__(self) -> None:
        self.base = ""
        self.slack: list[dict[str, Any]] = []
        self.teams: list[dict[str, Any]] = []
        self.pagerduty: list[dict[str, Any]] = []
        self.incidents: dict[str, str] = {}
        self.alerts: dict[str, str] = {}
        self.created: list[dict[str, Any]] = []
        self.throttled: list[str] = []
        self.away = False
        self._at: dict[str, list[float]] = {}
        self._lock = threading.Lock()

    def asked(self, path: str, headers: Any, data: bytes) -> Answer:
        with self._lock:
            if self.away:
                return 503, "unavailable", {}
            try:
                if path.startswith("/services/"):
                    return self._slack(path, data)
                if path.startswith("/workflows/"):
                    return self._teams(path, data)
                if path == "/v2/enqueue":
                    return self._pagerduty(data)
                if path.startswith("/v2/alerts"):
                    return self._opsgenie(path, headers, data)
            except Refused as refused:
                return refused.answer
            return 404, "not found", {}

    def _pace(self, who: str, most: int, within_s: float) -> None:
        now = time.monotonic()
        recent = [at for at in self._at.get(who, []) if now - at < within_s]
        if len(recent) >= most:
            self.throttled.append(who)
            raise Refused(429, "rate_limited", {"Retry-After": "1"})
        self._at[who] = [*recent, now]

    def _slack(self, path: str, data: bytes) -> Answer:
        if path != SLACK_PATH:
            raise Refused(404, "no_service")
        self._pace("slack", 1, 0.9)
        try:
            body = json.loads(data)
            _check_blocks(body["blocks"])
            if not isinstance(body["text"], str):
                raise TypeError
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise Refused(400, "invalid_payload") from error
        self.slack.append(body)
        return 200, "ok", {}

    def _teams(self, path: str, data: bytes) -> Answer:
        if path != TEAMS_PATH:
            raise Refused(401, "signature does not match")
        self._pace("teams", 4, 1.0)
        if len(data) > 28 * 1024:
            raise Refused(413, "the message is too large")
        try:
            body = json.loads(data)
            card = body["attachments"][0]
            assert body["type"] == "message"
            assert card["contentType"] == "application/vnd.microsoft.card.adaptive"
            assert card["content"]["type"] == "AdaptiveCard"
            assert all(one["type"] in {"TextBlock", "FactSet"} for one in card["content"]["body"])
            assert all(one["url"].startswith("http") for one in card["content"]["actions"])
        except (ValueError, KeyError, AssertionError, IndexError) as error:
            raise Refused(400, "the card cannot be parsed") from error
        self.teams.append(body)
        return 202, "", {}

    def _pagerduty(self, data: bytes) -> Answer:
        if len(data) > 512 * 1024:
            raise Refused(413, "too large")
        try:
            event = json.loads(data)
            errors = _event_errors(event)
        except (ValueError, AttributeError) as error:
            raise Refused(400, '{"status":"invalid event"}') from error
        if errors:
            raise Refused(400, json.dumps({"status": "invalid event", "errors": errors}))
        self.pagerduty.append(event)
        key, action = event["dedup_key"], event["event_action"]
        if event["routing_key"] != ROUTING_KEY:
            raise Refused(400, json.dumps({"status": "invalid key", "message": event["routing_key"]}))
        if action == "trigger":
            self.incidents.setdefault(key, "triggered")
            if self.incidents[key] == "resolved":
                self.incidents[key] = "triggered"
        elif key in self.incidents:  # without an open alert it is dropped
            self.incidents[key] = {"acknowledge": "acknowledged", "resolve": "resolved"}[action]
        return 202, json.dumps({"status": "success", "dedup_key": key}), {}

    def _opsgenie(self, path: str, headers: Any, data: bytes) -> Answer:
        if headers.get("Authorization") != f"GenieKey {GENIE_KEY}":
            raise Refused(403, "key does not exist")
        parts, body = urlsplit(path), json.loads(data)
        if parts.path == "/v2/alerts":
            if not 0 < len(body["message"]) <= 130 or len(body["alias"]) > 512 or len(body["description"]) > 15_000:
                raise Refused(422, "message or alias is too long")
            if sum(len(k) + len(v) for k, v in body["details"].items()) > 8_000 or body["priority"] not in {
                "P1",
                "P2",
                "P3",
                "P4",
                "P5",
            }:
                raise Refused(422, "details are too long")
            self.created.append(body)
            self.alerts[body["alias"]] = "open"
        else:
            *_, alias, action = parts.path.split("/")
            assert parse_qs(parts.query) == {"identifierType": ["alias"]}
            if unquote(alias) in self.alerts:
                self.alerts[unquote(alias)] = {"acknowledge": "acknowledged", "close": "closed"}[action]
        return 202, '{"result":"Request will be processed","requestId":"r-1"}', {}


def _check_blocks(blocks: list[dict[str, Any]]) -> None:
    texts = []
    if len(blocks) > 50:
        raise Refused(400, "invalid_blocks")
    for block in blocks:
        if block["type"] == "header":
            texts.append((block["text"]["text"], 150))
        elif block["type"] == "section":
            texts += [(block["text"]["text"], 3_000)] if "text" in block else []
            if len(block.get("fields", [])) > 10:
                raise Refused(400, "invalid_blocks")
            texts += [(one["text"], 2_000) for one in block.get("fields", [])]
        elif block["type"] == "context":
            texts += [(one["text"], 3_000) for one in block["elements"]]
    if any(not 0 < len(text) <= most for text, most in texts):
        raise Refused(400, "invalid_blocks")
    if sum(len(text) for text, _ in texts) > 11_300:
        raise Refused(400, "msg_blocks_too_long")


def _event_errors(event: dict[str, Any]) -> list[str]:
    errors = []
    if len(event.get("routing_key", "")) != 32:
        errors.append("routing_key has 32 characters")
    if event.get("event_action") not in {"trigger", "acknowledge", "resolve"}:
        errors.append("event_action is unknown")
    if not 0 < len(event.get("dedup_key", "")) <= 255:
        errors.append("dedup_key has 1 to 255 characters")
    if event.get("event_action") == "trigger":
        payload = event.get("payload") or {}
        if not 0 < len(payload.get("summary", "")) <= 1024:
            errors.append("summary has 1 to 1024 characters")
        if not payload.get("source") or payload.get("severity") not in {"critical", "error", "warning", "info"}:
            errors.append("source or severity is missing")
    return errors


@contextlib.contextmanager
def vendors() -> Iterator[Vendors]:
    """Run the stubs on one free port."""
    stub = Vendors()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, words, headers = stub.asked(self.path, self.headers, data)
            body = words.encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    stub.base = f"http://127.0.0.1:{server.server_port}"
    try:
        yield stub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
