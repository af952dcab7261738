"""What a schedule may be: a wish becomes the columns of its row, or a sentence that says what to change. No reads, no writes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from alerts.reports.content import Cadence
from alerts.reports.errors import ScheduleInvalid
from console.core.calendars import zone_of
from console.core.errors import Invalid

MOST_RECEIVERS = 50
MOST_NOUN = 40
MOST_ABOUT = 500  # flows, or objectives, of one schedule
LINK_DAYS = (1, 365)
LANGUAGES = {
    "en-GB": "English (United Kingdom)",
    "en-US": "English (United States)",
    "cs-CZ": "Czech",
    "da-DK": "Danish",
    "de-AT": "German (Austria)",
    "de-CH": "German (Switzerland)",
    "de-DE": "German",
    "es-ES": "Spanish",
    "fi-FI": "Finnish",
    "fr-FR": "French",
    "it-IT": "Italian",
    "nl-NL": "Dutch",
    "nb-NO": "Norwegian",
    "pl-PL": "Polish",
    "pt-PT": "Portuguese",
    "sv-SE": "Swedish",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSchedule:
    """What a person says of a schedule. flow_ids, objective_ids: both empty for everything that its owner sees.

    hour  of the local day, 0 to 23.   weekday  1 is Monday.   language  of dates and numbers.   receivers  addresses.
    noun, nouns  what a message is called, and several.
    """

    name: str
    cadence: str
    hour: int = 7
    weekday: int = 1
    time_zone: str = "UTC"
    language: str = "en-GB"
    noun: str = "message"
    nouns: str = "messages"
    flow_ids: Sequence[int] = ()
    objective_ids: Sequence[int] = ()
    receivers: Sequence[str] = ()
    enabled: bool = True
    link_days: int = 30


def checked(said: NewSchedule) -> dict[str, Any]:
    """Return the columns of a schedule, without its receivers; raises ScheduleInvalid."""
    name = " ".join(said.name.replace("\x00", "").split())
    if not 1 <= len(name) <= 120:
        raise ScheduleInvalid("a name has 1 to 120 characters")
    if said.cadence not in {one.value for one in Cadence}:
        raise ScheduleInvalid("a report is made daily, weekly or monthly")
    if not 0 <= said.hour <= 23:
        raise ScheduleInvalid("the hour is 0 to 23, as the clocks of the time zone show it")
    if not 1 <= said.weekday <= 7:
        raise ScheduleInvalid("the weekday is 1 (Monday) to 7")
    if said.language not in LANGUAGES:
        raise ScheduleInvalid(f"the language is one of {', '.join(LANGUAGES)}")
    if not LINK_DAYS[0] <= said.link_days <= LINK_DAYS[1]:
        raise ScheduleInvalid(f"a link opens the report for {LINK_DAYS[0]} to {LINK_DAYS[1]} days")
    if max(len(said.flow_ids), len(said.objective_ids)) > MOST_ABOUT:
        raise ScheduleInvalid(f"choose at most {MOST_ABOUT} flows and {MOST_ABOUT} objectives, or all of them")
    noun, nouns = (_noun(one) for one in (said.noun, said.nouns))
    try:
        zone = zone_of(said.time_zone)
    except Invalid as error:
        raise ScheduleInvalid(str(error)) from error
    return {
        "name": name,
        "cadence": said.cadence,
        "hour": said.hour,
        "weekday": said.weekday,
        "time_zone": zone.key,
        "language": said.language,
        "noun": noun,
        "nouns": nouns,
        "flow_ids": sorted(set(said.flow_ids)),
        "objective_ids": sorted(set(said.objective_ids)),
        "enabled": said.enabled,
        "link_days": said.link_days,
    }


def _noun(said: str) -> str:
    found = " ".join(said.split())
    if not 1 <= len(found) <= MOST_NOUN or not all(one.isalnum() or one in " -’'" for one in found):
        raise ScheduleInvalid(
            f"what its messages are called has 1 to {MOST_NOUN} letters, once for one and once for several: order, orders"
        )
    return found


def checked_receivers(addresses: Iterable[str]) -> list[str]:
    """Return the addresses, each once, in small letters; raises ScheduleInvalid for what is none, and for more than 50."""
    found = list(dict.fromkeys(one.strip().lower() for one in addresses if one.strip()))
    if len(found) > MOST_RECEIVERS:
        raise ScheduleInvalid(f"a report goes to {MOST_RECEIVERS} receivers at most")
    for one in found:
        try:
            validate_email(one)
        except ValidationError as error:
            raise ScheduleInvalid(f"“{one[:80]}” is no mail address") from error
        if len(one) > 254 or not one.isascii() or not one.isprintable():
            raise ScheduleInvalid(
                f"“{one[:80]}” is too long for a mail address, or has letters that servers do not take"
            )
    return found
