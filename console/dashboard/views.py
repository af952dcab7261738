"""The overview, the first run, and the environment switch."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST, require_safe

from alerts.breaches.queries import verdict_of as breaches_now
from alerts.objectives.queries import next_breach
from console.core.charts import Series, Spark, line_chart, spark
from console.core.render import render_page, render_part
from console.core.words import age_words, exact_words
from console.dashboard import overview as queries
from console.dashboard.strip import strip_of, suspect_of
from console.identity.access import can_administer, get_visible_environment
from console.identity.actor import Actor
from console.identity.administration import issue_agent_key
from console.identity.models import Environment
from console.identity.pages import PageRequest, page
from messages.changes.present import did, label_of, lasted_until, marks_of, touches
from messages.changes.queries import changes_between
from messages.compensation.queries import count_needing
from messages.figures.present import replay_marks
from messages.groups.failed_here import failed_here
from messages.groups.unseen import died_unseen
from messages.models import Change
from messages.search.naming import name_of
from messages.search.quoting import quoted

FIRST_AGENT = "first-agent"
SHOWN_CHANGES = 4


@require_safe
@page
def overview(request: PageRequest) -> HttpResponse:
    """What is failing now; before anything arrived, how to make something arrive."""
    actor, environment, now = request.actor, request.environment, timezone.now()
    groups = queries.find_failing(actor, environment, now=now)
    if not groups and not queries.has_data(actor, environment):
        return render_page(
            request, "console/first_run.html", "console/_first_light.html", _first_run(request, actor, environment)
        )
    return render_page(request, "console/overview.html", "console/_overview.html", _overview(request, groups, now=now))


def _overview(request: PageRequest, groups: Sequence[queries.Failing], *, now: datetime) -> dict[str, Any]:
    actor, environment = request.actor, request.environment
    window = "1h" if request.GET.get("window") == "1h" else "24h"
    hours = "hour" if window == "1h" else "24 hours"
    figures = queries.recent_figures(actor, environment, window=window, now=now)
    rates = queries.message_rates(figures)
    changed = changes_between(actor, [environment], since=now - timedelta(hours=queries.SPARK_HOURS), until=now)
    marked = [change for change in changed if lasted_until(change, now=now) >= rates[0].at]
    verdict = queries.verdict_of(actor, environment, groups)
    oldest, first_gone = verdict.oldest, next_breach(actor, environment, now=now)
    firing, needing = breaches_now(actor, environment), count_needing(actor, environment, now=now)
    request.counted = {
        "dead-letters": sum(group.letters for group in groups),
        "compensations": needing.count,
        "breaches": firing.fired,
    }
    return {
        "verdict": verdict,
        "oldest_name": name_of(oldest.keys, oldest.message_id or str(oldest.pk)).title if oldest else "",
        "groups": [(group, _spark(group, changed, now), _group_url(group)) for group in groups[: queries.SHOWN_GROUPS]],
        "more_groups": max(0, len(groups) - queries.SHOWN_GROUPS),
        "breaches": firing,
        "next_breach": first_gone,
        "next_breach_in": age_words(first_gone.gone_at - now) if first_gone and first_gone.gone_at else "",
        "agents": queries.seen_agents(actor, environment, now=now, most=8),
        "chart": line_chart(
            [rate.at for rate in rates],
            _series(rates),
            label=f"Messages a minute, last {hours}",
            marks=[*marks_of(marked, now=now), *replay_marks(figures)],
        ),
        "strip": strip_of(figures, window),
        "suspect": suspect_of(verdict.largest, changed),
        "chart_window": window,
        "changes": [(change, did(change), label_of(change)) for change in marked[-SHOWN_CHANGES:]],
        "more_changes": max(0, len(marked) - SHOWN_CHANGES),
        "needing": needing,
        "unseen": died_unseen(actor, environment),
        "failed_here": failed_here(actor, environment),
    }


def _spark(group: queries.Failing, changed: Sequence[Change], now: datetime) -> Spark:
    """Return the group's failures by hour, with the changes to its flow and system that they may come from."""
    label = f"failed by hour, last 24 hours: {sum(group.hours)}"
    marks = [
        (
            queries.spark_position(change.started_at, now),
            f"{did(change)}: {label_of(change)}, {exact_words(change.started_at)}",
        )
        for change in changed
        if touches(change, systems=group.systems, flows=[group.flow])
    ]
    return spark(group.hours, bad=[count > 0 for count in group.hours], label=label, marks=marks)


def _group_url(group: queries.Failing) -> str:
    """Return the address of the failure group, of its flow's letters while they have none."""
    if group.group is not None:
        return reverse("group", args=[group.group.reference])
    return f"{reverse('dead-letters')}?{urlencode({'q': f'flow:{quoted(group.flow)}'})}"


def _series(rates: Sequence[queries.Rate]) -> list[Series]:
    return [
        Series(name="delivered", look="move", values=[rate.delivered for rate in rates]),
        Series(name="failed", look="bad", values=[rate.failed for rate in rates]),
    ]


def _first_run(request: HttpRequest, actor: Actor, environment: Environment, key: str = "") -> dict[str, Any]:
    now = timezone.now()
    return {
        "base": request.build_absolute_uri("/").rstrip("/"),
        "key": key,
        "agent_name": FIRST_AGENT,
        "may_create": can_administer(actor, environment),
        "agents": queries.seen_agents(actor, environment, now=now, most=8),
        "arrived": queries.has_data(actor, environment),
        "now": now,
    }


@require_safe
@page
def first_light(request: PageRequest) -> HttpResponse:
    """The light of the first-run page alone, polled until the first event is there."""
    return render_part(request, "console/_first_light.html", _first_run(request, request.actor, request.environment))


@require_POST
@page
def first_key(request: PageRequest) -> HttpResponse:
    """Make a key and show the first-run page with it in every line; it is in this answer and nowhere else."""
    _, text = issue_agent_key(request.environment, FIRST_AGENT, by=request.actor)
    context = _first_run(request, request.actor, request.environment, key=text)
    response = render_page(request, "console/first_run.html", "console/_first_lines.html", context)
    response["Cache-Control"] = "no-store"
    return response


@require_POST
@page
def switch_environment(request: PageRequest) -> HttpResponse:
    """Remember the chosen environment in the session and go back to `next`, or to the overview."""
    chosen = get_visible_environment(request.actor, request.POST.get("environment", ""))
    request.session["environment"] = chosen.slug
    target = _without_environment(request.POST.get("next", "")[:4000])
    if not url_has_allowed_host_and_scheme(target, {request.get_host()}, require_https=request.is_secure()):
        target = reverse("overview")
    response = HttpResponseRedirect(target)
    response.status_code = 303
    return response


def _without_environment(address: str) -> str:
    """Return the address without `?environment=`, which would undo the switch."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    query = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name != "environment"]
    return urlunsplit(parts._replace(query=urlencode(query)))
