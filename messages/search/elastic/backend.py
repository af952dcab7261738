"""The search back end: asks Elasticsearch for the ids of a page, within two seconds, and not again for ten when that was in vain."""

from __future__ import annotations

import time
from uuid import UUID

import structlog
from django.conf import settings
from elasticsearch import BadRequestError

from messages.search.base import Away, Hit, Question, Unsuited
from messages.search.elastic.breaker import Breaker
from messages.search.elastic.client import FAULTS, SEARCH_S, client, words_of
from messages.search.elastic.names import alias_of
from messages.search.elastic.state import check_ready
from messages.search.elastic.translate import body_of
from messages.search.elastic.words import moment

log = structlog.get_logger(__name__)
SERVER_SIDE = "1500ms"


class Elastic:
    """Elasticsearch 8.x or 9.x at ELASTICSEARCH_URL; one breaker a process."""

    def __init__(self) -> None:
        self.breaker = Breaker()

    def find(self, question: Question) -> list[Hit]:
        """Return a page of hits. Raises Unsuited for what the index cannot answer alike, Away when it cannot be asked."""
        body = body_of(question)
        indices = check_ready(question.environments, question.now)
        if not self.breaker.lets_through(time.monotonic()):
            raise Away(self.breaker.why)
        try:
            aliases = [alias_of(settings.ELASTICSEARCH_PREFIX, one.pk, one.slug) for one in question.environments]
            answer = self._ask(aliases, body, indices)
        except Away as away:
            self.breaker.failed(str(away), time.monotonic())
            raise
        self.breaker.worked()
        return answer

    def _ask(self, aliases: list[str], body: dict[str, object], indices: int) -> list[Hit]:
        try:
            answer = (
                client()
                .options(request_timeout=SEARCH_S)
                .search(index=aliases, body=body | {"timeout": SERVER_SIDE}, allow_partial_search_results=False)
            )
        except BadRequestError as error:
            log.warning("search_not_understood", back_end="elasticsearch", reason=str(error)[:300])
            raise Unsuited("it does not understand this query") from error
        except FAULTS as error:
            log.warning("search_back_end_away", back_end="elasticsearch", reason=words_of(error))
            raise Away(words_of(error)) from error
        if answer["timed_out"]:
            raise Away("it did not answer in time")
        if answer["_shards"]["total"] < indices:
            raise Away("it lost a part of its index")
        return [_hit(one["sort"]) for one in answer["hits"]["hits"]]


def _hit(position: list[object]) -> Hit:
    """Return the hit of sort values: (at, id) of messages, (id, at) of dead letters."""
    at, identity = position if isinstance(position[0], int) else reversed(position)
    return Hit(moment(int(str(at))), UUID(str(identity)))
