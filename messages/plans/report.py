"""The report of a plan: what was selected, what became of every item, how long it took, who approved what. For a mail and for a page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile

from django.db import connection, transaction
from django.db.models import F, Q
from django.template.loader import render_to_string

from console.audit.queries import object_history
from console.core.errors import Conflict
from console.core.words import duration_words
from console.identity.actor import Actor
from console.identity.models import User
from messages.models import Plan
from messages.plans.access import check_can_operate_plan
from messages.plans.doing import rows_of
from messages.plans.overdue import overdue_of
from messages.plans.queries import counts_of, total_of
from messages.plans.reasons import LEFT_OUT
from messages.plans.services import audit
from messages.plans.states import ENDED, WORDS
from messages.plans.summary import OUTCOME_WORDS
from messages.plans.telling import about_of, address_of, person_address
from messages.plans.waves import OUTCOMES
from messages.saved.outbox import WHO_SETS_IT, queue_mail

TOLD_IN = (*ENDED, "aborted")
ASKED, DECLINED = "plan.report_asked", "plan.report_declined"
MOST_ERRORS = 10
# The death after a replay says why it failed again; the broker's words why it refused.
ERRORS = """
SELECT why, count(*) FROM (
    SELECT left(coalesce(nullif(l.error_root_type, ''), nullif(l.error_type, ''), nullif(r.detail, ''), 'no error was reported'), 200) AS why
    FROM {rows} r
    LEFT JOIN LATERAL (SELECT * FROM messaging_deadletter l WHERE l.previous_id = r.dead_letter_id ORDER BY l.id DESC LIMIT 1) l
        ON r.state = 'failed_again'
    WHERE r.plan_id = %s AND r.state IN ('failed_again', 'refused') LIMIT 10000
) f GROUP BY why ORDER BY 2 DESC, 1 LIMIT %s
"""


class NoAddress(Conflict):
    """There is no mail address to send this to: an administrator of the console sets it on the page Teams and people."""

    code = "no_mail_address"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """name: of an outcome or a reason; words: of it; items."""

    name: str
    words: str
    items: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A plan in figures. selected = items + the sum of left_out; items = the sum of outcomes, always.

    duration_s, per_s  from its start to its end, and what was sent in it; None while it has not begun.
    errors             of what failed again or was refused, the most frequent first, of the first 10,000.
    """

    plan: Plan
    selected: int
    items: int
    left_out: list[Line]
    outcomes: list[Line]
    overdue: int
    duration_s: float | None
    per_s: float | None
    errors: list[tuple[str, int]]
    address: str

    @property
    def state_words(self) -> str:
        return WORDS[self.plan.state]

    @property
    def duration(self) -> str:
        return "it has not begun" if self.duration_s is None else duration_words(1000 * self.duration_s)


def report_of(plan: Plan, *, now: datetime | None = None) -> Report:
    """Return the report of a plan at this moment; four queries."""
    total = total_of(counts_of(plan))
    duration_s = _duration_s(plan, now or datetime.now(UTC))
    gone = sum(total[name] for name in ("sent", "confirmed", "processed", "failed_again", "refused", "unknown"))
    with connection.cursor() as cursor:
        cursor.execute(rows_of(plan.does, ERRORS), [plan.pk, MOST_ERRORS])
        errors = [(str(why), int(items)) for why, items in cursor.fetchall()]
    return Report(
        plan=plan,
        selected=plan.figures.get("selected", 0),
        items=plan.items_count,
        left_out=[
            Line(name=name, words=LEFT_OUT[name], items=items)
            for name, items in plan.figures.get("left_out", {}).items()
        ],
        outcomes=[Line(name=name, words=OUTCOME_WORDS[name], items=total[name]) for name in OUTCOMES if total[name]],
        overdue=overdue_of(plan, now=now).count,
        duration_s=duration_s,
        per_s=gone / duration_s if duration_s else None,
        errors=errors,
        address=address_of(plan),
    )


def _duration_s(plan: Plan, now: datetime) -> float | None:
    if plan.started_at is None:
        return None
    end = plan.finished_at or (plan.state_at if plan.state == "aborted" else now)
    return max(0.0, (end - plan.started_at).total_seconds())


@transaction.atomic
def ask_for_report(plan: Plan, *, wanted: bool, by: Actor) -> Plan:
    """Mail the report to the plan's author and to `by` whenever it ends or stops itself, or to nobody; what has ended is told at once.

    Raises Forbidden, NoAddress.
    """
    check_can_operate_plan(by, plan)
    if not wanted:
        if Plan.objects.filter(pk=plan.pk, mail_to_author=True).update(mail_to_author=False):
            audit(by, DECLINED, plan)
    elif by.user_id is None or not User.objects.filter(pk=by.user_id).exclude(email="").exists():
        raise NoAddress(f"you have no mail address here: {WHO_SETS_IT}")
    else:
        Plan.objects.filter(pk=plan.pk).update(mail_to_author=True, reported_at=None)
        if by.name not in asked_by(plan):
            audit(by, ASKED, plan)
    plan.refresh_from_db()
    return plan


def asked_by(plan: Plan) -> list[str]:
    """Return who asked for the report since somebody declined it last."""
    said = object_history("plan", str(plan.pk)).filter(action__in=[ASKED, DECLINED]).order_by("-id")
    return [one.actor for one in takewhile(lambda one: one.action == ASKED, said)]


def addresses_of(plan: Plan) -> dict[int, str]:
    """Return {user: mail address} of whom the report is for; {0: ""} when nobody has one, or may see the plan any more."""
    people = {plan.created_by_user, *User.objects.filter(username__in=asked_by(plan))}
    found = {one.pk: address for one in people if one is not None and (address := person_address(one, plan))}
    return found or {0: ""}


def mail_reports() -> int:
    """Mail the report of each plan that says so and has ended or stopped itself since; return how many. May run twice at once."""
    told = Q(reported_at=None) | Q(reported_at__lt=F("state_at"))
    due = Plan.objects.filter(told, mail_to_author=True, state__in=TOLD_IN)
    return sum(_mail(pk) for pk in due.order_by("pk").values_list("pk", flat=True)[:100])


@transaction.atomic
def _mail(pk: int) -> int:
    """Claim the plan's report and write its mail, both or none."""
    rows = Plan.objects.select_for_update(skip_locked=True, of=("self",)).select_related(
        "environment", "created_by_user"
    )
    plan = rows.filter(pk=pk, mail_to_author=True, state__in=TOLD_IN).first()
    if plan is None or (plan.reported_at is not None and plan.reported_at >= plan.state_at):
        return 0
    report = report_of(plan)
    context = {"report": report, "plan": plan}
    subject = f"[{plan.environment.name}] {plan.reference} {plan.state}: {summary_of(report)}"
    body, html = (render_to_string(f"emails/plan_report.{one}", context) for one in ("txt", "html"))
    for person, address in addresses_of(plan).items():
        occurrence = f"{about_of(plan)}:{plan.state}:{plan.state_at.isoformat()}:{person}"
        queue_mail(about_of(plan), occurrence, to=address, subject=subject, body=body, html=html)
    Plan.objects.filter(pk=pk).update(reported_at=max(datetime.now(UTC), plan.state_at))
    return 1


def summary_of(report: Report) -> str:
    """Return "90 processed, 10 failed again", of what was sent."""
    return ", ".join(f"{line.items:,} {line.name.replace('_', ' ')}" for line in report.outcomes) or "nothing was sent"
