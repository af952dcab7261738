"""The rest, through the library Apprise, in a process of its own: what it may reach is bounded there, see apprise_child.py.

Only services of this table: each talks HTTP to a host that is the vendor's, or named in the URL and then approved like any other.
Apprise's others run programs, read files of this machine, or speak protocols that nothing here bounds.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from alerts.delivery.notifiers.base import BadChannel, Field, Said, Telling, Told
from alerts.delivery.notifiers.http import check_fields
from alerts.delivery.notifiers.words import cut, one_line, untold_words, web_links
from alerts.delivery.outbound import MOST_ANSWER, host_of
from alerts.notices import Happening

CHILD = Path(__file__).with_name("apprise_child.py")
TIMEOUT_S, KILLED_AFTER_S = 10.0, 25.0  # the library alone takes seconds to load on a busy machine
STATUS = re.compile(r"error[=:\s]+(\d{3})\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One of Apprise's. hosts: the vendor's own; none: the URL's host is asked, over https when `secure`, else http."""

    label: str
    hosts: tuple[str, ...] = ()
    secure: bool = True


SERVICES = {
    "discord": Service(label="Discord", hosts=("discord.com",)),
    "tgram": Service(label="Telegram", hosts=("api.telegram.org",)),
    "gchat": Service(label="Google Chat", hosts=("chat.googleapis.com",)),
    "wxteams": Service(label="Webex", hosts=("webexapis.com", "api.ciscospark.com")),
    "pover": Service(label="Pushover", hosts=("api.pushover.net",)),
    "zulip": Service(label="Zulip", hosts=("*.zulipchat.com",)),
    "mmost": Service(label="Mattermost", secure=False),
    "mmosts": Service(label="Mattermost over TLS"),
    "rocket": Service(label="Rocket.Chat", secure=False),
    "rockets": Service(label="Rocket.Chat over TLS"),
    "gotify": Service(label="Gotify", secure=False),
    "gotifys": Service(label="Gotify over TLS"),
}
TYPES = {Happening.RESOLVED: "success", Happening.ACKNOWLEDGED: "info", Happening.TEST: "info"}


class Apprise:
    """Apprise says yes or no and writes the rest into its log, of which a status is read."""

    kind = "apprise"
    label = "Other services (Apprise)"
    fields = (
        Field(
            name="url",
            label="Apprise URL",
            help=f"As Apprise writes it; of {', '.join(f'{name}://' for name in SERVICES)}.",
            secret=True,
        ),
    )
    hosts: tuple[str, ...] = ()
    a_second, at_once = 1.0, 1
    repeat_s: float | None = None
    longest_s = KILLED_AFTER_S + 5

    def check(self, said: Said) -> None:
        check_fields(self.fields, said)
        url = said["url"]
        service_of(url)
        if not url.isascii() or not url.isprintable() or "," in url or " " in url:
            raise BadChannel("Apprise URL: give one, percent-encoded")
        for address in self.addresses(said):
            host_of(address)

    def addresses(self, said: Said) -> list[str]:
        """Return the address whose host is to be approved; the vendors' own need nobody's approval."""
        service = service_of(said["url"])
        if service.hosts:
            return []
        parts = _split(said["url"])
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
        return [f"{'https' if service.secure else 'http'}://{host}{f':{parts.port}' if parts.port else ''}/"]

    def tell(self, telling: Telling, said: Said, allowed: Collection[str]) -> Told:
        asked = {
            "url": said["url"],
            "title": unmentioned(cut(one_line(telling.title), 250)),
            "body": body(telling),
            "type": TYPES.get(telling.notice.happening, "failure"),
            "hosts": sorted({*allowed, *service_of(said["url"]).hosts}),
            "timeout_s": TIMEOUT_S,
        }
        try:
            done = subprocess.run(
                [sys.executable, "-I", str(CHILD)], input=json.dumps(asked).encode(), capture_output=True, timeout=KILLED_AFTER_S,
                env={"LANG": "C.UTF-8"}, cwd="/", check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return Told(result="later", answer=f"no answer within {KILLED_AFTER_S:.0f} s, it may have taken it")
        return judged(done.returncode, done.stdout)


def service_of(url: str) -> Service:
    """Return the service of this URL; raises BadChannel without quoting it: it holds a token."""
    service = SERVICES.get(_split(url).scheme)
    if service is None:
        raise BadChannel(f"Apprise URL: it begins with one of {', '.join(f'{name}://' for name in SERVICES)}")
    return service


def _split(url: str) -> Any:
    try:
        parts = urlsplit(url)
        _ = parts.hostname, parts.port
    except ValueError as error:
        raise BadChannel("Apprise URL: this is not a URL") from error
    return parts


def body(telling: Telling) -> str:
    """Return plain text with facts and links; pure."""
    notice = telling.notice
    facts = "\n".join(f"{cut(name, 80)}: {cut(value, 200)}" for name, value in list(notice.facts.items())[:12])
    links = "\n".join(f"{words}: {url}" for words, url in web_links(notice).items())
    text = "\n\n".join(part for part in (telling.text.strip(), untold_words(telling), facts, links) if part)
    return unmentioned(cut(text, 1_600))


def unmentioned(text: str) -> str:
    """Return text that calls nobody: what a message says must not become `@everyone`."""
    return text.replace("@", "@\u200b")[:1_800]


def judged(code: int, output: bytes) -> Told:
    """Return what the child's answer means; pure."""
    try:
        said = json.loads(output)
    except ValueError:
        return Told(result="later", answer=f"Apprise ended without an answer (code {code})")
    log = one_line(str(said.get("log", "")).replace("\x00", ""))[:MOST_ANSWER]
    if said.get("ok"):
        return Told(result="taken", status=None, answer="taken, Apprise says")
    if said.get("refused"):
        return Told(result="refused", answer=f"{said['refused']}"[:MOST_ANSWER])
    found = STATUS.search(log)
    status = int(found[1]) if found else None
    final = status is not None and 300 <= status < 500 and status not in (408, 425, 429)
    return Told(
        result="refused" if final else "later", status=status, answer=log or "Apprise says that it was not sent"
    )


APPRISE = Apprise()
