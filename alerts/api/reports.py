"""REST of reports: schedules, previews, what was sent to whom, files, revisions, links."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from alerts.models import Report, ReportMail, ReportSchedule
from alerts.reports import services
from alerts.reports.access import can_see_receivers, get_receiver, get_visible_report, get_visible_schedule
from alerts.reports.content import Cadence, as_json
from alerts.reports.present import period_words, schedule_when
from alerts.reports.queries import (
    ScheduleLine,
    attachments_of,
    changed_by,
    content_of,
    file_of,
    find_reports,
    find_schedules,
    mails_of,
    receivers_of,
)
from alerts.reports.states import MAIL_STATES, REPORT_STATES
from alerts.reports.views_reports import download, of_console
from alerts.reports.wishes import LANGUAGES, LINK_DAYS, MOST_ABOUT, MOST_NOUN, MOST_RECEIVERS, NewSchedule
from console.core.errors import NotFound
from console.core.paging import Page, parse_limit
from console.identity.access import get_visible_environment
from messages.api.base import CONFLICTS, LIST_PARAMETERS, PROBLEMS, Reason, View, number_or_404, validated

Q = OpenApiParameter("q", str, description="A part of the schedule’s name.")
PAGED = [one for one in LIST_PARAMETERS if one.name in ("limit", "cursor", "environment")]
SCHEDULE = OpenApiParameter("schedule", int, description="Only those of this schedule.")


class ReportReceiverOut(serializers.Serializer[Any]):
    """Who gets it. stopped_at: they said stop, and get nothing."""

    id = serializers.IntegerField(source="pk")
    address = serializers.CharField()
    outside = serializers.BooleanField(help_text="No member’s address.")
    stopped_at = serializers.DateTimeField(allow_null=True)


class ReportChangeOut(serializers.Serializer[Any]):
    """One figure that is otherwise."""

    what = serializers.CharField()
    before = serializers.CharField()
    now = serializers.CharField()


class ReportOut(serializers.Serializer[Any]):
    """One report; a revision has a number above 1, a preview 0."""

    id = serializers.IntegerField(source="pk")
    schedule = serializers.IntegerField(source="schedule_id")
    name = serializers.CharField(source="schedule.name")
    environment = serializers.SlugField(source="schedule.environment.slug")
    cadence = serializers.ChoiceField(choices=[one.value for one in Cadence])
    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    time_zone = serializers.CharField()
    period = serializers.SerializerMethodField(help_text="Its local days, in words.")
    revision = serializers.IntegerField()
    corrects = serializers.CharField(help_text="What a revision says that it corrects.")
    state = serializers.ChoiceField(choices=REPORT_STATES)
    step = serializers.CharField(help_text="What a worker does at this moment, or what it waits for.")
    problem = serializers.CharField(help_text="Why it was not made.")
    stands = serializers.CharField(help_text="The worst of its promises: missed, at_risk, no_data, kept.")
    subject = serializers.CharField()
    outside = serializers.BooleanField(help_text="It goes to addresses that are no member’s, too.")
    asked_by = serializers.CharField(help_text="Empty: its time had come.")
    asked_at = serializers.DateTimeField()
    frozen_at = serializers.DateTimeField(allow_null=True)
    checked_at = serializers.DateTimeField(allow_null=True)
    differs = ReportChangeOut(many=True, help_text="What its figures would say now, as of `checked_at`.")

    def get_period(self, one: Report) -> str:
        return period_words(one.since, one.until, one.time_zone)


class ReportMailOut(serializers.Serializer[Any]):
    """One report for one receiver."""

    receiver = serializers.IntegerField(source="receiver_id")
    address = serializers.CharField(source="receiver.address")
    state = serializers.ChoiceField(choices=MAIL_STATES)
    attempt = serializers.IntegerField(help_text="Tries in all.")
    answer = serializers.CharField(help_text="Of the last try.")
    next_at = serializers.DateTimeField(allow_null=True)
    queued_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)


class OneReportOut(ReportOut):
    """One report, as it was frozen, with who got it."""

    content = serializers.SerializerMethodField(help_text="Null until it is made.")
    changes = serializers.SerializerMethodField(help_text="What a revision says otherwise than the one before.")
    files = serializers.SerializerMethodField()
    mails = serializers.SerializerMethodField(help_text="Empty for who may not see the receivers.")

    @extend_schema_field(OpenApiTypes.OBJECT)
    def get_content(self, one: Report) -> Any:
        content = content_of(one)
        return as_json(content) if content is not None else None

    @extend_schema_field(ReportChangeOut(many=True))
    def get_changes(self, one: Report) -> Any:
        return ReportChangeOut(changed_by(one), many=True).data

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_files(self, one: Report) -> list[str]:
        return ["report.html", "mail.txt", *(name for name, _ in attachments_of(one))] if one.state == "frozen" else []

    @extend_schema_field(ReportMailOut(many=True))
    def get_mails(self, one: Report) -> Any:
        may = can_see_receivers(self.context["actor"], one.schedule)
        return ReportMailOut(mails_of(one), many=True).data if may else []


class ReportScheduleOut(serializers.Serializer[Any]):
    """When a report is made of what."""

    id = serializers.IntegerField(source="one.pk")
    environment = serializers.SlugField(source="one.environment.slug")
    name = serializers.CharField(source="one.name")
    owner = serializers.CharField(source="one.owner.username", allow_null=True, default=None)
    flows = serializers.ListField(source="one.flow_ids", child=serializers.IntegerField())
    objectives = serializers.ListField(source="one.objective_ids", child=serializers.IntegerField())
    cadence = serializers.ChoiceField(source="one.cadence", choices=[one.value for one in Cadence])
    hour = serializers.IntegerField(source="one.hour")
    weekday = serializers.IntegerField(source="one.weekday")
    time_zone = serializers.CharField(source="one.time_zone")
    language = serializers.CharField(source="one.language")
    noun = serializers.CharField(source="one.noun", help_text="What one of its messages is called.")
    nouns = serializers.CharField(source="one.nouns", help_text="What several are called.")
    enabled = serializers.BooleanField(source="one.enabled")
    link_days = serializers.IntegerField(source="one.link_days")
    when = serializers.SerializerMethodField(help_text="In words.")
    next_at = serializers.DateTimeField(source="one.next_at", allow_null=True)
    problem = serializers.CharField(source="one.problem", help_text="Why the last one was not made.")
    receivers = serializers.IntegerField(help_text="How many get it.")
    stopped = serializers.IntegerField(help_text="How many stopped it.")
    last = ReportOut(allow_null=True, help_text="The newest report that you may see.")

    def get_when(self, line: ScheduleLine) -> str:
        return schedule_when(line.one)


class OneReportScheduleOut(ReportScheduleOut):
    """A schedule with its receivers: empty for who is neither its owner nor an administrator."""

    addresses = serializers.SerializerMethodField()

    @extend_schema_field(ReportReceiverOut(many=True))
    def get_addresses(self, line: ScheduleLine) -> Any:
        may = can_see_receivers(self.context["actor"], line.one)
        return ReportReceiverOut(receivers_of(line.one), many=True).data if may else []


class ReportScheduleChangeIn(serializers.Serializer[Any]):
    """What is made when, for whom. Neither flows nor objectives: everything that its owner sees."""

    name = serializers.CharField(max_length=120)
    cadence = serializers.ChoiceField(choices=[one.value for one in Cadence])
    hour = serializers.IntegerField(min_value=0, max_value=23, default=7)
    weekday = serializers.IntegerField(min_value=1, max_value=7, default=1, help_text="1 is Monday.")
    time_zone = serializers.CharField(max_length=60, default="UTC")
    language = serializers.ChoiceField(choices=list(LANGUAGES), default="en-GB")
    noun = serializers.CharField(max_length=MOST_NOUN, default="message", help_text="What one of its messages is.")
    nouns = serializers.CharField(max_length=MOST_NOUN, default="messages", help_text="What several are called.")
    flows = serializers.ListField(child=serializers.IntegerField(min_value=1), max_length=MOST_ABOUT, default=list)
    objectives = serializers.ListField(child=serializers.IntegerField(min_value=1), max_length=MOST_ABOUT, default=list)
    receivers = serializers.ListField(
        child=serializers.CharField(max_length=254), max_length=MOST_RECEIVERS, default=list
    )
    enabled = serializers.BooleanField(default=True)
    link_days = serializers.IntegerField(min_value=LINK_DAYS[0], max_value=LINK_DAYS[1], default=30)


class ReportScheduleIn(ReportScheduleChangeIn):
    """A new schedule; it is yours."""

    environment = serializers.SlugField()


class ReviseReportIn(serializers.Serializer[Any]):
    reason = serializers.CharField(
        max_length=500,
        help_text="What it corrects; stands in the mail, but an owner’s not where an address is no member’s.",
    )
    send = serializers.BooleanField(default=True, help_text="To the receivers, too; an owner’s to members alone.")


class ReportReceiverIn(serializers.Serializer[Any]):
    receiver = serializers.IntegerField(min_value=1, help_text="Its id.")


class RevokeReportLinksIn(serializers.Serializer[Any]):
    receiver = serializers.IntegerField(min_value=1, default=None, allow_null=True, help_text="Null: of all.")
    reason = serializers.CharField(max_length=1000, default="", allow_blank=True)


LIST = inline_serializer("ReportList", {"results": ReportOut(many=True), "next": serializers.URLField(allow_null=True)})
SCHEDULES = inline_serializer(
    "ReportScheduleList", {"results": ReportScheduleOut(many=True), "next": serializers.URLField(allow_null=True)}
)


def _said(asked: dict[str, Any]) -> NewSchedule:
    return NewSchedule(flow_ids=asked.pop("flows"), objective_ids=asked.pop("objectives"), **asked)


class ReportView(View):
    def asked(self, request: Request) -> dict[str, Any]:
        """Return the arguments that both lists take."""
        parameters = request.query_params
        return {
            "environments": self.environments(),
            "q": parameters.get("q", "").replace("\x00", "").strip()[:120],
            "limit": parse_limit(parameters.get("limit")),
            "cursor": parameters.get("cursor") or None,
        }

    def shown(self, report: Report, status: int = 200) -> Response:
        found = get_visible_report(self.actor, report.pk)
        return Response(OneReportOut(found, context={"actor": self.actor}).data, status=status)

    def shown_schedule(self, one: ReportSchedule, status: int = 200) -> Response:
        found = get_visible_schedule(self.actor, one.pk)
        line = find_schedules(self.actor, environments=[found.environment], only=found).rows[0]
        return Response(OneReportScheduleOut(line, context={"actor": self.actor}).data, status=status)


class Reports(ReportView):
    @extend_schema(operation_id="list_reports", parameters=[*PAGED, Q, SCHEDULE], responses={200: LIST, **PROBLEMS})
    def get(self, request: Request) -> Response:
        """Reports, newest first: the history of every schedule, or of one."""
        wanted = request.query_params.get("schedule", "")
        one = get_visible_schedule(self.actor, number_or_404(wanted)) if wanted else None
        return self.page(find_reports(self.actor, schedule=one, **self.asked(request)), ReportOut)


class OneReport(ReportView):
    @extend_schema(operation_id="read_report", responses={200: OneReportOut, **PROBLEMS})
    def get(self, request: Request, pk: str) -> Response:
        """One report as it was frozen, with who got it and with what answer."""
        return self.shown(get_visible_report(self.actor, number_or_404(pk)))


class ReportFileView(View):
    @extend_schema(operation_id="read_report_file", responses={200: OpenApiTypes.BINARY, **PROBLEMS})
    def get(self, request: Request, pk: str, name: str) -> HttpResponse:
        """A file of a report: PDF or CSV as they are attached, `report.html`, `mail.txt`."""
        found = get_visible_report(self.actor, number_or_404(pk))
        role = {"report.html": "page", "mail.txt": "text"}.get(name)
        if role is None:
            return download(found, name)
        if (file := file_of(found, role)) is None:
            raise NotFound("this report is not made yet")
        # Text and not a page: what a browser would run here would run with the reader's session.
        return HttpResponse(of_console(found, bytes(file.body).decode()), content_type="text/plain; charset=utf-8")


class ReviseReport(ReportView):
    @extend_schema(operation_id="revise_report", request=ReviseReportIn, responses={202: OneReportOut, **CONFLICTS})
    def post(self, request: Request, pk: str) -> Response:
        """Gather the newest report of a period anew, as a marked revision."""
        found = get_visible_report(self.actor, number_or_404(pk))
        return self.shown(services.revise(found, by=self.actor, **validated(ReviseReportIn, request.data)), 202)


class RetryReport(ReportView):
    @extend_schema(operation_id="retry_report", request=None, responses={202: OneReportOut, **CONFLICTS})
    def post(self, request: Request, pk: str) -> Response:
        """Make a report that could not be made."""
        return self.shown(services.try_again(get_visible_report(self.actor, number_or_404(pk)), by=self.actor), 202)


class SendReportAgain(ReportView):
    @extend_schema(
        operation_id="send_report_again", request=ReportReceiverIn, responses={202: ReportMailOut, **CONFLICTS}
    )
    def post(self, request: Request, pk: str) -> Response:
        """Send a report to one receiver, again or for the first time."""
        found = get_visible_report(self.actor, number_or_404(pk))
        wanted = validated(ReportReceiverIn, request.data)["receiver"]
        mail: ReportMail = services.send_again(found, get_receiver(self.actor, found.schedule, wanted), by=self.actor)
        return Response(ReportMailOut(mail).data, status=202)


class ReportSchedules(ReportView):
    @extend_schema(operation_id="list_report_schedules", parameters=[*PAGED, Q], responses={200: SCHEDULES, **PROBLEMS})
    def get(self, request: Request) -> Response:
        """Schedules, newest first, each with its last report."""
        found: Page[Any] = find_schedules(self.actor, **self.asked(request))
        return self.page(found, ReportScheduleOut)

    @extend_schema(
        operation_id="add_report_schedule", request=ReportScheduleIn, responses={201: OneReportScheduleOut, **CONFLICTS}
    )
    def post(self, request: Request) -> Response:
        """Make a schedule. Addresses that are no member’s are for administrators."""
        asked = validated(ReportScheduleIn, request.data)
        environment = get_visible_environment(self.actor, asked.pop("environment"))
        return self.shown_schedule(services.add_schedule(environment, _said(asked), by=self.actor), 201)


class OneReportSchedule(ReportView):
    @extend_schema(operation_id="read_report_schedule", responses={200: OneReportScheduleOut, **PROBLEMS})
    def get(self, request: Request, pk: str) -> Response:
        """One schedule, with its receivers and who stopped it."""
        return self.shown_schedule(get_visible_schedule(self.actor, number_or_404(pk)))

    @extend_schema(
        operation_id="change_report_schedule",
        request=ReportScheduleChangeIn,
        responses={200: OneReportScheduleOut, **CONFLICTS},
    )
    def put(self, request: Request, pk: str) -> Response:
        """Replace what a schedule says; its owner stays."""
        one = get_visible_schedule(self.actor, number_or_404(pk))
        asked, there = request.data, receivers_of(one) if can_see_receivers(self.actor, one) else []
        get = sum(receiver.stopped_at is None for receiver in there)
        if isinstance(asked, dict) and type(asked.get("receivers")) is int and asked["receivers"] == get:
            asked = {**asked, "receivers": [receiver.address for receiver in there]}  # as GET counts them: they stay
        said = _said(validated(ReportScheduleChangeIn, asked, answers=OneReportScheduleOut))
        return self.shown_schedule(services.change_schedule(one, said, by=self.actor))

    @extend_schema(operation_id="remove_report_schedule", request=Reason, responses={204: None, **PROBLEMS})
    def delete(self, request: Request, pk: str) -> Response:
        """Remove a schedule with its reports and links, with a `reason`."""
        one = get_visible_schedule(self.actor, number_or_404(pk))
        services.remove_schedule(one, by=self.actor, reason=validated(Reason, request.data)["reason"])
        return Response(status=204)


class RenderReport(ReportView):
    @extend_schema(operation_id="render_report", request=None, responses={202: OneReportOut, **PROBLEMS})
    def post(self, request: Request, pk: str) -> Response:
        """Ask for a preview of the last period; read it by its id until `state` is `frozen`. It goes to nobody."""
        one = get_visible_schedule(self.actor, number_or_404(pk))
        return self.shown(services.ask_preview(one, by=self.actor), 202)


class SendReport(ReportView):
    @extend_schema(operation_id="send_report", request=None, responses={202: OneReportOut, **CONFLICTS})
    def post(self, request: Request, pk: str) -> Response:
        """Make and send the report of the last period now."""
        one = get_visible_schedule(self.actor, number_or_404(pk))
        return self.shown(services.send_now(one, by=self.actor), 202)


class ReportLinks(View):
    @extend_schema(operation_id="revoke_report_links", request=RevokeReportLinksIn, responses={204: None, **PROBLEMS})
    def delete(self, request: Request, pk: str) -> Response:
        """Let the links that were sent open nothing any more: of all receivers, or of one."""
        one = get_visible_schedule(self.actor, number_or_404(pk))
        asked = validated(RevokeReportLinksIn, request.data or {})
        receiver = get_receiver(self.actor, one, asked["receiver"]) if asked["receiver"] else None
        services.revoke_links(one, by=self.actor, receiver=receiver, reason=asked["reason"])
        return Response(status=204)
