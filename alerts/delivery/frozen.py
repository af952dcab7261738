"""A notice as it lies in a row: JSON, cut to what a row should hold. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from alerts.notices import Notice

MOST_THREAD, MOST_TITLE, MOST_SUMMARY = 500, 500, 4_000


def freeze(notice: Notice) -> dict[str, Any]:
    """Return a notice as JSON that PostgreSQL takes: no NUL, no lone surrogate, nothing longer than it should be.

    Facts, links and labels are lists of pairs: jsonb does not keep the order of an object, and theirs is what is shown.
    """
    return {
        "happening": notice.happening.value,
        "thread": thread_of(notice),
        "severity": _clean(notice.severity, 40),
        "environment": _clean(notice.environment, 120),
        "title": _clean(notice.title, MOST_TITLE),
        "summary": _clean(notice.summary, MOST_SUMMARY),
        "starts_at": notice.starts_at.isoformat(),
        "ends_at": notice.ends_at.isoformat() if notice.ends_at else None,
        "facts": _texts(notice.facts, 50, 200, 2_000),
        "links": _texts(notice.links, 20, 200, 2_000),
        "labels": _texts(notice.labels, 50, 100, 1_000),
    }


def thaw(frozen: Mapping[str, Any]) -> Notice:
    ordered = {name: dict(frozen[name]) for name in ("facts", "links", "labels")}
    return msgspec.convert({**frozen, **ordered}, Notice)


def thread_of(notice: Notice) -> str:
    """Return the thread as rows are found by it: itself, or, when it is long, its hash."""
    thread = _clean(notice.thread, 10_000)
    return thread if len(thread) <= MOST_THREAD else hashlib.sha256(thread.encode()).hexdigest()


def _texts(texts: Mapping[str, str], most: int, name: int, value: int) -> list[list[str]]:
    cut = {_clean(key, name): _clean(text, value) for key, text in list(texts.items())[:most]}
    return [list(pair) for pair in cut.items()]


def _clean(text: object, most: int) -> str:
    return str(text)[:most].replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
