"""A recorded request, sent again byte for byte through the server that production uses, in this process and at the time it was recorded.

gunicorn's own parser reads the bytes (chunk framing included) and Django's WSGI handler answers: all but the socket is the live
path. In this process, because the clock can be set back here: a console refuses to believe times of more than 30 days ago, and
these recordings must give the same rows in ten years.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.core.handlers.wsgi import WSGIRequest
from django.core.wsgi import get_wsgi_application
from gunicorn.config import Config
from gunicorn.http.parser import RequestParser
from gunicorn.http.wsgi import create

from console.core.bodies import with_whole_body

RECORDED = Path(__file__).parent / "recorded"
KEY = b"wb_agent_recorded"  # what the recorder gave the senders for a key
SEGMENT = 1460  # as TCP would cut it


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the console said to one request; sent_as: the request's own content type."""

    path: str
    sent_as: str
    status: int
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One folder below recorded/: the requests in the order they came, who sent them and when."""

    name: str
    sender: str
    recorded_at: datetime
    requests: tuple[bytes, ...]

    @property
    def expected(self) -> Path:
        return RECORDED / self.name / "expected.txt"


def recording(name: str) -> Recording:
    about = json.loads((RECORDED / name / "about.json").read_text())
    return Recording(
        name=name,
        sender=about["sender"],
        recorded_at=datetime.fromisoformat(about["recorded_at"]),
        requests=tuple(path.read_bytes() for path in sorted((RECORDED / name).glob("*.http"))),
    )


def send(raw: bytes, key: str) -> Answer:
    """Return the answer to these bytes, with the recorder's key replaced by this one and nothing else changed."""
    assert raw.count(KEY) == 1
    return answer_to(raw.replace(KEY, key.encode()))


def answer_to(raw: bytes) -> Answer:
    """Return the answer to these bytes, after which the connection ends."""
    request = next(RequestParser(Config(), _segments(raw), ("127.0.0.1", 1)))
    _, environ = create(request, None, ("127.0.0.1", 1), ("127.0.0.1", 8000), Config())
    # Not the handler's __call__: its signals end the database connection, and with it the test's transaction.
    response = get_wsgi_application().get_response(WSGIRequest(with_whole_body(environ)))
    return Answer(
        path=environ["PATH_INFO"],
        sent_as=environ.get("CONTENT_TYPE", ""),
        status=response.status_code,
        content_type=response["Content-Type"],
        body=response.content,
    )


def _segments(raw: bytes) -> Iterator[bytes]:
    return (raw[at : at + SEGMENT] for at in range(0, len(raw), SEGMENT))
