"""Schedules, reports and their mails in words and chips."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from alerts.models import Report, ReportMail, ReportSchedule
from alerts.reports.timing import when_words

STANDS = {
    "kept": ("good", "kept"),
    "at_risk": ("warn", "at risk"),
    "missed": ("bad", "missed"),
    "no_data": ("warn", "no data"),
}
REPORTS = {
    "asked": ("move still", "waits for a worker"),
    "making": ("move", "being made"),
    "frozen": ("good", "made"),
    "failed": ("bad", "not made"),
}
MAILS = {
    "queued": ("move still", "queued"),
    "sending": ("move", "sending"),
    "sent": ("good", "sent"),
    "failed": ("warn", "tried again"),
    "dead": ("bad", "given up"),
    "unknown": ("warn", "unknown"),
    "withdrawn": ("", "not sent"),
}


def verdict_chip(report: Report | None) -> tuple[str, str]:
    """Return (look, words) of what a report says, or of how far it is; nothing for none."""
    if report is None:
        return "", ""
    if report.state == "asked" and report.step:
        return REPORTS["asked"][0], "waits for its figures"
    if report.state != "frozen":
        return REPORTS[report.state]
    return STANDS.get(report.stands, ("", "nothing promised"))


def mail_line(mail: ReportMail) -> dict[str, Any]:
    look, words = MAILS[mail.state]
    return {"mail": mail, "look": look, "words": words, "at": mail.finished_at or mail.queued_at}


def mails_words(counts: dict[str, int]) -> str:
    """Return how many mails are how far: "12 sent, 1 given up"."""
    return ", ".join(f"{counts[state]} {words}" for state, (_, words) in MAILS.items() if counts.get(state))


def not_arrived(counts: Mapping[int, Mapping[str, int]], report: Report | None) -> int:
    """Return how many mails of a report were given up, or may not have arrived; counts: {report: {state: how many}}."""
    states = counts.get(report.pk, {}) if report is not None else {}
    return states.get("dead", 0) + states.get("unknown", 0)


def period_words(since: datetime, until: datetime, zone: str) -> str:
    """Return the local days of a period: "25 November 2026", "16 to 22 November 2026", "28 September to 4 October 2026"."""
    first = since.astimezone(ZoneInfo(zone)).date()
    last = (until - timedelta(seconds=1)).astimezone(ZoneInfo(zone)).date()
    whole = f"{last.day} {last:%B %Y}"
    if first == last:
        return whole
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day} to {whole}"
    return f"{first.day} {first:%B} to {whole}" if first.year == last.year else f"{first.day} {first:%B %Y} to {whole}"


def report_name(report: Report) -> str:
    """Return a report's period, and which revision it is."""
    period = period_words(report.since, report.until, report.time_zone)
    return f"{period}, revision {report.revision}" if report.revision > 1 else period


def schedule_when(one: ReportSchedule) -> str:
    return when_words(one.cadence, hour=one.hour, weekday=one.weekday, zone=one.time_zone)
