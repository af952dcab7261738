"""What the worker's tasks call. A back end that is away is a line in the log; the outbox keeps what it missed."""

from __future__ import annotations

from datetime import UTC, datetime

import structlog
from django.conf import settings
from django.db import OperationalError

from messages.search.base import Away
from messages.search.elastic.client import FAULTS, words_of
from messages.search.elastic.indexing import index_changes
from messages.search.elastic.outbox import attach, detach, give_up_when_hopeless
from messages.search.elastic.upkeep import build_what_is_missing, keep_up

log = structlog.get_logger(__name__)
INDEXING_S = 30.0
BUILDING_S = 40.0  # of a task, which is killed after two minutes


def note_changes_or_not() -> None:
    """Have changes noted where a back end is configured, and not where none is; what cannot be locked in time is tried again by the task."""
    try:
        changed = attach() if settings.SEARCH_BACKEND == "elasticsearch" else detach()
    except OperationalError as error:
        log.warning("search_changes_not_switched", reason=str(error)[:200])
        return
    if changed:
        log.info("search_changes_switched", back_end=settings.SEARCH_BACKEND)


def index() -> None:
    if settings.SEARCH_BACKEND == "elasticsearch":
        index_changes(budget_s=INDEXING_S)


def keep() -> None:
    if settings.SEARCH_BACKEND != "elasticsearch":
        return
    note_changes_or_not()
    if give_up_when_hopeless(datetime.now(UTC)):
        log.error("search_index_given_up", back_end="elasticsearch", reason="a day behind: it is built anew")
    try:
        build_what_is_missing(budget_s=BUILDING_S)
        keep_up()
    except Away as away:
        log.warning("search_back_end_away", back_end="elasticsearch", reason=str(away))
    except FAULTS as fault:
        log.warning("search_back_end_away", back_end="elasticsearch", reason=words_of(fault))
