"""Reports: their schedules and receivers, what each said when it was frozen, how it was drawn, and its mails."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import CheckConstraint, F, Index, Q, UniqueConstraint

from alerts.reports.states import MAIL_OPEN, MAIL_STATES, REPORT_OPEN, REPORT_STATES


class ReportSchedule(models.Model):
    """When a report is made of what, with whose rights, and how it reads. It goes at `hour` of its zone.

    flow_ids, objective_ids  what it is about; both empty: everything that its owner sees.   weekday  1 is Monday; of a weekly one.
    noun, nouns  what its messages are called: order, orders.   next_at  null while it is off.   problem  why the last one was not made, in words.
    link_days  how long a link of its mails opens.   link_epoch  raised, every link that was sent before opens nothing.
    """

    environment = models.ForeignKey("identity.Environment", models.PROTECT, related_name="+")
    owner = models.ForeignKey("identity.User", models.SET_NULL, null=True, related_name="+")
    name = models.CharField(max_length=120)
    flow_ids: models.Field[list[int], list[int]] = ArrayField(models.BigIntegerField(), default=list)
    objective_ids: models.Field[list[int], list[int]] = ArrayField(models.BigIntegerField(), default=list)
    cadence = models.CharField(max_length=7)
    hour = models.PositiveSmallIntegerField(default=7)
    weekday = models.PositiveSmallIntegerField(default=1)
    time_zone = models.CharField(max_length=60, default="UTC")
    language = models.CharField(max_length=12, default="en-GB")
    noun = models.CharField(max_length=40, default="message", db_default="message")
    nouns = models.CharField(max_length=40, default="messages", db_default="messages")
    enabled = models.BooleanField(default=True)
    next_at = models.DateTimeField(null=True)
    link_days = models.PositiveSmallIntegerField(default=30)
    link_epoch = models.PositiveIntegerField(default=0)
    problem = models.CharField(max_length=500, blank=True)
    problem_at = models.DateTimeField(null=True)
    created_by = models.CharField(max_length=150)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            UniqueConstraint(name="report_schedule_name_once_per_environment", fields=["environment", "name"]),
            CheckConstraint(
                name="report_schedule_cadence_is_known", condition=Q(cadence__in=["daily", "weekly", "monthly"])
            ),
            CheckConstraint(name="report_schedule_hour_is_of_a_day", condition=Q(hour__lt=24)),
            CheckConstraint(name="report_schedule_weekday_is_of_a_week", condition=Q(weekday__gte=1, weekday__lte=7)),
            CheckConstraint(
                name="report_schedule_is_due_iff_enabled",
                condition=Q(enabled=True, next_at__isnull=False) | Q(enabled=False, next_at__isnull=True),
            ),
        ]
        indexes = [
            Index(fields=["next_at"], name="report_schedule_due", condition=Q(next_at__isnull=False)),
            Index(fields=["environment", "-id"], name="report_schedule_newest"),
        ]

    def __str__(self) -> str:
        return self.name


class ReportReceiver(models.Model):
    """An address of a schedule. One that was taken off, or stopped, stays as a row: who said stop is not asked again by mistake.

    outside  no member's address: an administrator put it there, see alerts/reports/access.py.   link_epoch  as of the schedule, for this one alone.
    """

    schedule = models.ForeignKey(ReportSchedule, models.CASCADE, related_name="receivers")
    address = models.CharField(max_length=254)
    outside = models.BooleanField(default=False)
    added_by = models.CharField(max_length=150)
    added_at = models.DateTimeField(auto_now_add=True)
    removed_at = models.DateTimeField(null=True)
    stopped_at = models.DateTimeField(null=True)
    link_epoch = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["address"]
        constraints = [UniqueConstraint(name="report_receiver_once_per_schedule", fields=["schedule", "address"])]

    def __str__(self) -> str:
        return f"receiver {self.pk}"


class Report(models.Model):
    """One report: asked for, made, frozen. The row is the queue, see alerts/reports/making.py.

    since, until    whole local days of `time_zone`.   revision  from 1; a preview has 0 and is sent to nobody.
    corrects        what a revision says it corrects.   outside  it may go to addresses that are no member's.   content  frozen, see alerts/reports/content.py.
    flow_ids, search_ids  flows, and objectives on searches, that it tells of: who sees all of them sees it.
    next_at         when it is made; while it is, the end of the lease.   attempt  fences off a worker that was given up.
    differs         what its figures would say otherwise now, as a look found that is repeated at `check_at`.
    """

    schedule = models.ForeignKey(ReportSchedule, models.CASCADE, related_name="reports")
    environment = models.ForeignKey("identity.Environment", models.PROTECT, related_name="+")
    cadence = models.CharField(max_length=7)
    since = models.DateTimeField()
    until = models.DateTimeField()
    time_zone = models.CharField(max_length=60)
    revision = models.PositiveIntegerField(default=1)
    corrects = models.CharField(max_length=500, blank=True)
    to_send = models.BooleanField(default=True)
    outside = models.BooleanField(default=True, db_default=True)
    asked_by = models.CharField(max_length=150, blank=True)  # "": its time had come
    asked_at = models.DateTimeField()
    state = models.CharField(max_length=10, choices=REPORT_STATES, default="asked")
    attempt = models.PositiveIntegerField(default=0)
    tries = models.PositiveIntegerField(default=0)
    next_at = models.DateTimeField(null=True)
    step = models.CharField(max_length=60, blank=True)  # what the worker does at this moment
    problem = models.CharField(max_length=500, blank=True)
    subject = models.CharField(max_length=300, blank=True)
    stands = models.CharField(max_length=10, blank=True)  # the worst of its promises
    content = models.JSONField(null=True)
    flow_ids: models.Field[list[int], list[int]] = ArrayField(models.BigIntegerField(), default=list)
    search_ids: models.Field[list[int], list[int]] = ArrayField(models.BigIntegerField(), default=list)
    frozen_at = models.DateTimeField(null=True)
    check_at = models.DateTimeField(null=True)
    checked_at = models.DateTimeField(null=True)
    differs = models.JSONField(default=list)

    class Meta:
        ordering = ["-id"]
        constraints = [
            UniqueConstraint(
                name="report_once_per_period_and_revision",
                fields=["schedule", "since", "until", "revision"],
                condition=Q(revision__gt=0),
            ),
            UniqueConstraint(name="report_one_preview_at_once", fields=["schedule"], condition=Q(revision=0)),
            CheckConstraint(name="report_state_is_known", condition=Q(state__in=[name for name, _ in REPORT_STATES])),
            CheckConstraint(
                name="report_is_due_until_it_ended",
                condition=Q(state__in=REPORT_OPEN, next_at__isnull=False)
                | (~Q(state__in=REPORT_OPEN) & Q(next_at__isnull=True)),
            ),
            CheckConstraint(
                name="report_has_content_iff_frozen",
                condition=Q(state="frozen", content__isnull=False, frozen_at__isnull=False)
                | (~Q(state="frozen") & Q(content__isnull=True, frozen_at__isnull=True)),
            ),
            CheckConstraint(name="report_period_begins_before_it_ends", condition=Q(since__lt=F("until"))),
            CheckConstraint(name="report_preview_is_not_sent", condition=Q(revision__gt=0) | Q(to_send=False)),
        ]
        indexes = [
            Index(fields=["schedule", "-id"], name="report_of_schedule"),
            Index(fields=["environment", "-id"], name="report_newest", condition=Q(revision__gt=0)),
            Index(fields=["next_at"], name="report_due", condition=Q(next_at__isnull=False)),
            Index(fields=["check_at"], name="report_to_check", condition=Q(check_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"report {self.pk}"

    @property
    def is_preview(self) -> bool:
        return self.revision == 0


class ReportFile(models.Model):
    """How a frozen report was drawn, once. html and text: with places for the links of each receiver, see alerts/reports/links.py."""

    report = models.ForeignKey(Report, models.CASCADE, related_name="files")
    role = models.CharField(max_length=10)  # html, text, page, image, attachment
    name = models.CharField(max_length=200)  # of an attachment its file name, of an image its content id
    mime = models.CharField(max_length=80)
    body = models.BinaryField()

    class Meta:
        ordering = ["id"]
        constraints = [
            UniqueConstraint(name="report_file_once", fields=["report", "role", "name"]),
            CheckConstraint(
                name="report_file_role_is_known",
                condition=Q(role__in=["html", "text", "page", "image", "attachment"]),
            ),
        ]

    def __str__(self) -> str:
        return self.name


class ReportMail(models.Model):
    """One report for one receiver: a row of the outbox, see alerts/reports/mailing.py.

    round  how often it was asked to go: part of its Message-ID.   attempt, tries, next_at  as of a NoticeDelivery.
    """

    report = models.ForeignKey(Report, models.CASCADE, related_name="mails")
    receiver = models.ForeignKey(ReportReceiver, models.CASCADE, related_name="mails")
    state = models.CharField(max_length=10, choices=MAIL_STATES, default="queued")
    round = models.PositiveIntegerField(default=1)
    attempt = models.PositiveIntegerField(default=0)
    tries = models.PositiveIntegerField(default=0)
    next_at = models.DateTimeField(null=True)
    answer = models.CharField(max_length=500, blank=True)
    asked_by = models.CharField(max_length=150, blank=True)
    queued_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            UniqueConstraint(name="report_mail_once_per_receiver", fields=["report", "receiver"]),
            CheckConstraint(
                name="report_mail_state_is_known", condition=Q(state__in=[name for name, _ in MAIL_STATES])
            ),
            CheckConstraint(
                name="report_mail_is_tried_until_it_ended",
                condition=Q(state__in=MAIL_OPEN, next_at__isnull=False, finished_at__isnull=True)
                | (~Q(state__in=MAIL_OPEN) & Q(next_at__isnull=True, finished_at__isnull=False)),
            ),
        ]
        indexes = [
            Index(fields=["next_at"], name="report_mail_due", condition=Q(next_at__isnull=False)),
            Index(fields=["report"], name="report_mail_given_up", condition=Q(state__in=["dead", "unknown"])),
        ]

    def __str__(self) -> str:
        return f"mail {self.pk}"
