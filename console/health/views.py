"""The addresses that machines ask."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest, multiprocess

from console.core.errors import Forbidden
from console.health.gauges import StateCollector
from console.health.probes import readiness
from console.identity.keys import find_key


@require_safe
def livez(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok\n", content_type="text/plain")


@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    ready, checks = readiness()
    response = JsonResponse({"ready": ready, "checks": checks}, status=200 if ready else 503)
    if not ready:
        response["Retry-After"] = "5"
    return response


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Counters of every process and gauges read now; for the loopback, else for an administrator's API key."""
    direct = request.META.get("REMOTE_ADDR") in {"127.0.0.1", "::1"} and "HTTP_X_FORWARDED_FOR" not in request.META
    if not direct:
        user = find_key(request.headers.get("Authorization", ""), "api").user
        if user is None or not user.is_superuser:
            raise Forbidden("metrics are for administrators")
    registry: CollectorRegistry = REGISTRY
    if settings.CONFIG.multiprocess_metrics:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    state = CollectorRegistry()
    state.register(StateCollector())
    return HttpResponse(generate_latest(registry) + generate_latest(state), content_type=CONTENT_TYPE_LATEST)
