"""Links that open a report, or stop its mails, for people without an account: signed, and worth what they say.

A link that opens holds the report, the receiver, both epochs and its end; it is of one receiver, so that it can be revoked for one. A link that
stops holds the receiver alone and does not end: who gets mail must be able to stop it. Each has a salt of its own, so that neither is the other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.core.signing import BadSignature, Signer

OPEN_SALT, STOP_SALT = "waybill.reports.open", "waybill.reports.stop"
LONGEST = 400  # of a token that is looked at
# Where the links of a receiver are put into what was drawn once: what no report says by itself.
OPEN_PLACE, STOP_PLACE = "WAYBILL-OPENS-THE-REPORT", "WAYBILL-STOPS-THE-MAILS"
# As they stand in what was drawn: at the address that the console had then, which is another one when it moved since.
OPEN_DRAWN, STOP_DRAWN = (
    re.compile(rf"https?://[^\s\"'<>]{{1,300}}?/reports/{path}/{place}")
    for path, place in (("r", OPEN_PLACE), ("stop", STOP_PLACE))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opens:
    """What a link says that it opens; whether it still does is asked of the rows."""

    report: int
    receiver: int
    schedule_epoch: int
    receiver_epoch: int
    until: datetime


class BadLink(Exception):
    """No link of ours, or none any more. It never says why: neither does the page."""


def open_url(token: str = OPEN_PLACE) -> str:
    return f"{settings.CONSOLE_URL}/reports/r/{token}"


def stop_url(token: str = STOP_PLACE) -> str:
    return f"{settings.CONSOLE_URL}/reports/stop/{token}"


def open_token(one: Opens) -> str:
    """Return the token of a link that opens a report until then."""
    said = [one.report, one.receiver, one.schedule_epoch, one.receiver_epoch, int(one.until.timestamp())]
    return Signer(salt=OPEN_SALT).sign_object(said)


def stop_token(receiver: int) -> str:
    return Signer(salt=STOP_SALT).sign_object([receiver])


def parse_open(token: str, *, now: datetime) -> Opens:
    """Return what a token opens; raises BadLink for any other text and when its time is up."""
    report, receiver, schedule_epoch, receiver_epoch, until = _numbers(token, OPEN_SALT, 5)
    if until <= now.timestamp():
        raise BadLink
    return Opens(
        report=report,
        receiver=receiver,
        schedule_epoch=schedule_epoch,
        receiver_epoch=receiver_epoch,
        until=datetime.fromtimestamp(until, UTC),
    )


def parse_stop(token: str) -> int:
    """Return the receiver whose mails a token stops; raises BadLink."""
    return _numbers(token, STOP_SALT, 1)[0]


def _numbers(token: str, salt: str, count: int) -> list[int]:
    if len(token) > LONGEST or not token.isascii():
        raise BadLink
    try:
        said: Any = Signer(salt=salt).unsign_object(token)
    except (BadSignature, ValueError) as error:
        raise BadLink from error
    if not isinstance(said, list) or len(said) != count or not all(type(one) is int and one >= 0 for one in said):
        raise BadLink
    return said


def filled(text: str, *, opens: str, stops: str) -> str:
    """Return what was drawn with the links of one receiver, or with those of the console's own pages."""
    for place, link in ((OPEN_DRAWN, opens), (STOP_DRAWN, stops)):
        text = place.sub(lambda _, link=link: link, text)  # type: ignore[misc]
    return text
