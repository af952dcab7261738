"""What alerts stores, by topic."""

from alerts.models.breaches import AlertPolicy, Breach, BreachEntry, GroupWatch, Silence, Telling
from alerts.models.delivery import ApprovedHost, Channel, DeliveryAttempt, ExternalAlert, NoticeDelivery
from alerts.models.objectives import (
    Exclusion,
    FlowAgent,
    FoundMinutes,
    Objective,
    ObjectiveMinutes,
    ObjectiveSum,
    Standing,
    Uncounted,
)
from alerts.models.reports import Report, ReportFile, ReportMail, ReportReceiver, ReportSchedule

__all__ = [
    "AlertPolicy",
    "ApprovedHost",
    "Breach",
    "BreachEntry",
    "Channel",
    "DeliveryAttempt",
    "Exclusion",
    "ExternalAlert",
    "FlowAgent",
    "FoundMinutes",
    "GroupWatch",
    "NoticeDelivery",
    "Objective",
    "ObjectiveMinutes",
    "ObjectiveSum",
    "Report",
    "ReportFile",
    "ReportMail",
    "ReportReceiver",
    "ReportSchedule",
    "Silence",
    "Standing",
    "Telling",
    "Uncounted",
]
