"""EMAIL_URL, read: where mail goes and who it says it is from. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from console.core.errors import ConfigurationError

PORTS = {"smtp": 25, "smtp+tls": 587, "smtp+ssl": 465}
FORM = "EMAIL_URL is smtp://user:password@host:port, with smtp+tls:// for STARTTLS or smtp+ssl:// for TLS, and may end in ?from=address"


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer:
    """An SMTP server. sender: the address that mails are from."""

    host: str
    port: int
    user: str = ""
    password: str = ""
    starttls: bool = False
    tls: bool = False
    sender: str


def parse_mail_url(url: str, *, console_host: str) -> MailServer:
    """Return the server of an EMAIL_URL; raises ConfigurationError, which never repeats the URL: it holds a password."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        asked = parse_qs(parts.query, strict_parsing=bool(parts.query))
    except ValueError as error:
        raise ConfigurationError(FORM) from error
    sender = asked.pop("from", [f"waybill@{console_host}"])[-1]
    if parts.scheme not in PORTS or not host or asked or parts.path not in {"", "/"}:
        raise ConfigurationError(FORM)
    if "@" not in sender or any(one.isspace() or one in "<>,;" for one in sender):
        raise ConfigurationError("EMAIL_URL: from is one address such as waybill@example.com")
    return MailServer(
        host=host,
        port=port or PORTS[parts.scheme],
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        starttls=parts.scheme == "smtp+tls",
        tls=parts.scheme == "smtp+ssl",
        sender=sender,
    )
