"""The line to Elasticsearch: the address, login and certificates that the administrator set in the environment, and nothing else."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.conf import settings
from elastic_transport import ApiError as TransportApiError
from elastic_transport import TransportError
from elasticsearch import ApiError, Elasticsearch

SEARCH_S = 2.0  # after it a page is answered by PostgreSQL
WORK_S = 30.0  # of a worker's request
FAULTS = (ApiError, TransportApiError, TransportError, OSError)  # the last: a certificate file that is none


@cache
def client() -> Elasticsearch:
    """Return the client of this process; it retries nothing, for its callers know better when to."""
    more: dict[str, Any] = {"ca_certs": str(settings.ELASTICSEARCH_CA)} if settings.ELASTICSEARCH_CA else {}
    if settings.ELASTICSEARCH_API_KEY:
        more["api_key"] = settings.ELASTICSEARCH_API_KEY
    return Elasticsearch(
        settings.ELASTICSEARCH_URLS, request_timeout=WORK_S, max_retries=0, retry_on_timeout=False, **more
    )


def words_of(fault: Exception) -> str:
    """Return what went wrong in words that hold no address and no secret."""
    status = getattr(fault, "status_code", None)
    if status is not None:
        kind = str(getattr(fault, "message", ""))[:80]
        return f"it answered {status}{f' ({kind})' if kind else ''}"
    return {"ConnectionTimeout": "it did not answer in time", "TlsError": "its certificate is not trusted"}.get(
        type(fault).__name__, "it cannot be reached"
    )
