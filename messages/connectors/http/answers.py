"""What an answer says of a message that was sent: the judge of agents/sdk/answers.py, in a connector's words. Pure."""

from __future__ import annotations

from agents.sdk.answers import Headers, judge
from messages.connectors.base import Published, Result

MOST_TOLD = 64 * 1024  # bytes of an answer that go on to whoever asked
RESULTS: dict[str, Result] = {"taken": "confirmed", "refused": "refused", "later": "unavailable"}


def published(item_id: str, status: int, headers: Headers, body: bytes) -> Published:
    """Return what became of this message, and how long its receiver asks to be left alone."""
    said = judge(status, headers, body)
    pause = said.retry_after_s
    detail = f"{said.words}; it asks to send nothing for {pause} s" if pause else said.words
    media = next((value for name, value in headers.items() if name.lower() == "content-type"), "")
    return Published(
        id=item_id, result=RESULTS[said.kind], detail=detail, retry_after_s=pause, answered=status,
        body=body[:MOST_TOLD], content_type=media[:200],
    )  # fmt: skip
