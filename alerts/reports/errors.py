"""What this slice refuses."""

from __future__ import annotations

from console.core.errors import Conflict, Invalid


class ScheduleInvalid(Invalid):
    """What was said of a report schedule cannot be used; the sentence names the field."""

    code = "report_schedule_invalid"


class ScheduleExists(Conflict):
    """The environment has a report schedule of this name already."""

    code = "report_schedule_exists"


class ReportState(Conflict):
    """The report, or the mail, is not in a state in which this can be done: it is being made, was made, or was revised since."""

    code = "report_state"
