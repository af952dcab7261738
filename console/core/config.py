"""Everything the process environment may say, read here and nowhere else.

`SETTINGS` is the table behind docs/settings.md (a test compares them). `load_config` turns the environment into one
frozen value. No Django here: the runner and the embedded engines need it before Django can start.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from console.core.errors import ConfigurationError
from console.core.mail import MailServer, parse_mail_url

WEB_THREADS = 4  # of each web process
ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One environment variable: its name, its default as written in the docs, and what it does."""

    name: str
    default: str
    meaning: str


SETTINGS: tuple[Setting, ...] = (
    Setting(
        name="WAYBILL_DATA",
        default=".waybill",
        meaning="Folder for everything the console keeps on disk: engines, keys, logs. Made with mode 0700.",
    ),
    Setting(name="WAYBILL_PORT", default="8000", meaning="Port the console listens on."),
    Setting(
        name="WAYBILL_BIND",
        default="127.0.0.1",
        meaning="Address the console listens on. Put a TLS proxy in front before you open it.",
    ),
    Setting(
        name="WAYBILL_URL",
        default="http://127.0.0.1:<port>",
        meaning="Address that mails and links use. An https address turns on secure cookies and HSTS.",
    ),
    Setting(
        name="WAYBILL_ALLOWED_HOSTS",
        default="host of WAYBILL_URL, localhost, 127.0.0.1",
        meaning="Comma-separated Host headers that are answered.",
    ),
    Setting(
        name="WAYBILL_SECRET_KEY",
        default="made once, kept in WAYBILL_DATA",
        meaning="Signs sessions and hashes keys. At least 32 characters. Changing it ends sessions and voids every key.",
    ),
    Setting(
        name="WAYBILL_MASTER_KEY",
        default="made once, kept in WAYBILL_DATA",
        meaning="32 bytes as 64 hex digits. Wraps the data keys of payloads and the secrets of connections. Losing it loses both.",
    ),
    Setting(
        name="WAYBILL_MASTER_KEY_PREVIOUS",
        default="none",
        meaning="The key that WAYBILL_MASTER_KEY replaced: opens what it sealed until `manage.py rotate_master_key` has wrapped it anew.",
    ),
    Setting(
        name="WAYBILL_ADMIN_PASSWORD",
        default="random, printed once",
        meaning="Password of the first administrator, at least 12 characters; used only when that user is created.",
    ),
    Setting(name="WAYBILL_WEB_PROCESSES", default="2", meaning="Web worker processes."),
    Setting(
        name="WAYBILL_AGENT_EVENTS_PER_S",
        default="0: no quota",
        meaning="Events a second that an agent without a quota of its own may send; more is answered 429.",
    ),
    Setting(
        name="WAYBILL_AGENT_BYTES_PER_S",
        default="0: no quota",
        meaning="The same in bytes on the wire.",
    ),
    Setting(
        name="WAYBILL_DISK_PATHS",
        default="WAYBILL_DATA with the embedded PostgreSQL, else none",
        meaning="Folders, separated by a colon, whose disks ingest watches: for instance a mount of the database's volume.",
    ),
    Setting(
        name="WAYBILL_DISK_RESERVE_PERCENT",
        default="10",
        meaning="Ingest answers 503 while less than this part of a watched disk is free. 0 watches nothing.",
    ),
    Setting(
        name="WAYBILL_OVERDUE_MINUTES",
        default="12",
        meaning="A replay that was sent and is not proved to be processed for so many minutes is overdue: counted, and mailed to its plan's author.",
    ),
    Setting(
        name="WAYBILL_APPROVE_ABOVE",
        default="none: as each flow says",
        meaning="Who sends more messages again than this, at once or within an hour, needs a second person, whatever the flows say. 0: every plan.",
    ),
    Setting(
        name="WAYBILL_COMPENSATION_SENDERS",
        default="1",
        meaning="Workers that compensations may occupy at once, over all connections; the others are left to replays. Each connection has a bound of its own.",
    ),
    Setting(name="WAYBILL_LOG_LEVEL", default="INFO", meaning="Level of the JSON log lines."),
    Setting(
        name="DATABASE_URL",
        default="embedded PostgreSQL 18",
        meaning="postgres://user:password@host:port/name of a PostgreSQL 15 or newer.",
    ),
    Setting(
        name="WAYBILL_PREPARED_STATEMENTS",
        default="1",
        meaning="0 behind a pooler that does not carry prepared statements: PgBouncer before 1.21 in transaction mode. Ingest then costs more.",
    ),
    Setting(
        name="REDIS_URL",
        default="embedded Valkey 9",
        meaning="redis://… of a Redis 6.2, Valkey 7.2 or newer: Celery broker and cache.",
    ),
    Setting(
        name="WAYBILL_KAFKA_BROKERS",
        default="none",
        meaning="host:port, comma-separated, of the Kafka whose topics `manage.py consume_ingest` reads.",
    ),
    Setting(
        name="WAYBILL_KAFKA_PROPERTIES",
        default="none",
        meaning="File of librdkafka's `name=value` lines for it: TLS, SASL and the like.",
    ),
    Setting(
        name="ELASTICSEARCH_URL",
        default="none: PostgreSQL searches",
        meaning="Optional search back end: http(s)://user:password@host:9200 of an Elasticsearch 8 or 9, several comma-separated. "
        "Set it for every process.",
    ),
    Setting(name="ELASTICSEARCH_API_KEY", default="none", meaning="API key for it, in place of user and password."),
    Setting(
        name="ELASTICSEARCH_CA",
        default="the system's",
        meaning="File with the PEM certificates that its https address is checked against.",
    ),
    Setting(
        name="ELASTICSEARCH_PREFIX",
        default="waybill",
        meaning="Beginning of the names of its indices and aliases: another one for each console that shares a cluster.",
    ),
    Setting(
        name="EMAIL_URL",
        default="none: no mail is sent",
        meaning="smtp://user:password@host:port?from=address (smtp+tls, smtp+ssl). Without it a mail is given up, and its page says why.",
    ),
    Setting(
        name="WAYBILL_DEMO_RABBITMQ_URL",
        default="none: the demo uses Redis Streams alone",
        meaning="amqp://user:password@host:port/vhost of a RabbitMQ that the demo's shipments travel over.",
    ),
    Setting(
        name="PROMETHEUS_MULTIPROC_DIR",
        default="none; `make run` and the container set it",
        meaning="Folder in which the Prometheus client keeps the counters of several processes. Emptied before they start.",
    ),
    Setting(name="DEMO", default="1", meaning="1 starts the demo estate with `make run`, 0 leaves it out."),
)

NAMES = frozenset(setting.name for setting in SETTINGS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The environment, checked. Addresses are None when the embedded engine is to be used."""

    data: Path
    port: int
    bind: str
    url: str
    allowed_hosts: tuple[str, ...]
    admin_password: str | None
    web_processes: int
    agent_events_per_s: int
    agent_bytes_per_s: int
    disk_paths: tuple[Path, ...]
    disk_reserve_percent: int
    overdue_minutes: int
    compensation_senders: int
    approve_above: int | None
    log_level: str
    database_url: str | None
    redis_url: str | None
    prepared_statements: bool
    kafka_brokers: str | None
    kafka_properties: Path | None
    elasticsearch_urls: tuple[str, ...]
    elasticsearch_api_key: str | None
    elasticsearch_ca: Path | None
    elasticsearch_prefix: str
    mail_server: MailServer | None
    demo: bool
    multiprocess_metrics: Path | None
    demo_rabbitmq_url: str | None
    given_secret_key: str | None
    given_master_key: str | None
    given_previous_master_key: str | None

    @property
    def engines_file(self) -> Path:
        """JSON written by the runner while it runs: {"database_url": …, "redis_url": …} of the embedded engines."""
        return self.data / "engines.json"

    @property
    def metrics(self) -> Path:
        """Folder of the Prometheus client's files, one a process; emptied at every start."""
        return self.data / "metrics"

    def secret_key(self) -> str:
        """Return the signing key; made once in the data folder when the environment gives none."""
        return self.given_secret_key or _kept(self.data / "secret_key", lambda: secrets.token_urlsafe(48))

    @property
    def master_key_file(self) -> Path:
        """Where the master key is kept when the environment gives none."""
        return self.data / "master_key"

    @property
    def previous_master_key_file(self) -> Path:
        """Where a rotation leaves the key that it replaced."""
        return self.data / "master_key.previous"

    def master_key(self) -> bytes:
        """Return the 32-byte key that wraps data keys and connection secrets."""
        text = self.given_master_key or _kept(self.master_key_file, lambda: secrets.token_hex(32))
        return _key_of(text, "WAYBILL_MASTER_KEY")

    def previous_master_key(self) -> bytes | None:
        """Return the key before it, when there is one: what it sealed can still be opened."""
        file = self.previous_master_key_file
        text = self.given_previous_master_key or (file.read_text().strip() if file.exists() else None)
        return _key_of(text, "WAYBILL_MASTER_KEY_PREVIOUS") if text else None

    def resolved_database_url(self) -> str:
        """Return DATABASE_URL, or the address of the embedded PostgreSQL that is running now."""
        return self.database_url or self._embedded("database_url", "DATABASE_URL")

    def resolved_redis_url(self) -> str:
        """Return REDIS_URL, or the address of the embedded Valkey that is running now."""
        return self.redis_url or self._embedded("redis_url", "REDIS_URL")

    def _embedded(self, key: str, name: str) -> str:
        try:
            return str(json.loads(self.engines_file.read_text())[key])
        except (OSError, ValueError, KeyError) as error:
            raise ConfigurationError(
                f"{name} is not set and the embedded engines of {self.data} are not running: start them with `make run`, or set {name}"
            ) from error


def _key_of(text: str, name: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError as error:
        raise ConfigurationError(f"{name} must be 64 hex digits") from error
    if len(key) != 32:
        raise ConfigurationError(f"{name} must be 64 hex digits")
    return key


def _kept(path: Path, make: Callable[[], str]) -> str:
    """Return the text of `path`, writing it first (mode 0600, never overwritten) when it is not there."""
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        pass
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(make())
    try:
        os.link(temporary, path)  # the first of two processes wins; the other reads what it wrote
    except FileExistsError:
        pass
    finally:
        temporary.unlink()
    return path.read_text().strip()


def _number(environ: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = environ.get(name, "").strip() or str(default)
    if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
        raise ConfigurationError(f"{name} must be a whole number from {low} to {high}, not {text!r}")
    return int(text)


def _flag(environ: Mapping[str, str], name: str, default: bool) -> bool:
    text = environ.get(name, "").strip().lower()
    if text not in {"", "0", "1", "true", "false", "yes", "no"}:
        raise ConfigurationError(f"{name} must be 1 or 0, not {text!r}")
    return default if text == "" else text in {"1", "true", "yes"}


def _elasticsearch_urls(text: str) -> tuple[str, ...]:
    """Return the addresses, each with its port; the refusal does not repeat them, for they may hold a password."""
    urls = []
    for part in filter(None, (one.strip() for one in text.split(","))):
        try:
            parts = urlsplit(part)
            port = parts.port or 9200
        except ValueError:
            parts, port = urlsplit(""), 0
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise ConfigurationError(
                "ELASTICSEARCH_URL must be http(s)://host:port, or several of them with commas between"
            )
        place = parts.netloc if parts.port else f"{parts.netloc.rstrip(':')}:{port}"
        urls.append(f"{parts.scheme}://{place}{parts.path.rstrip('/')}")
    return tuple(urls)


def _index_prefix(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,59}", text):
        raise ConfigurationError(
            "ELASTICSEARCH_PREFIX has at most 60 small letters, digits and _ . -, and begins with a letter or digit"
        )
    return text


def load_config(environ: Mapping[str, str] = os.environ) -> Config:
    """Return the checked configuration; raises ConfigurationError in one sentence that names the variable."""
    text = {name: environ.get(name, "").strip() or None for name in NAMES}
    port = _number(environ, "WAYBILL_PORT", 8000, 1, 65535)
    url = (text["WAYBILL_URL"] or f"http://127.0.0.1:{port}").rstrip("/")
    scheme, _, rest = url.partition("://")
    if scheme not in {"http", "https"} or not rest:
        raise ConfigurationError(f"WAYBILL_URL must start with http:// or https://, not {url!r}")
    host = rest.split("/")[0].rsplit(":", 1)[0]
    hosts = tuple(h.strip() for h in (text["WAYBILL_ALLOWED_HOSTS"] or "").split(",") if h.strip())
    key = text["WAYBILL_SECRET_KEY"]
    if key and len(key) < 32:
        raise ConfigurationError("WAYBILL_SECRET_KEY must have at least 32 characters")
    elasticsearch = _elasticsearch_urls(text["ELASTICSEARCH_URL"] or "")
    if text["ELASTICSEARCH_API_KEY"] and any("@" in url for url in elasticsearch):
        raise ConfigurationError(
            "ELASTICSEARCH_API_KEY takes the place of a user in ELASTICSEARCH_URL: give one of them"
        )
    authority = Path(text["ELASTICSEARCH_CA"]) if text["ELASTICSEARCH_CA"] else None
    if authority and (not authority.is_file() or any(not url.startswith("https:") for url in elasticsearch)):
        raise ConfigurationError(
            "ELASTICSEARCH_CA is a file with certificates, for https addresses in ELASTICSEARCH_URL"
        )
    data = Path(text["WAYBILL_DATA"] or ".waybill").expanduser()
    return Config(
        data=data if data.is_absolute() else ROOT / data,
        port=port,
        bind=text["WAYBILL_BIND"] or "127.0.0.1",
        url=url,
        allowed_hosts=hosts or tuple(dict.fromkeys((host, "localhost", "127.0.0.1", "[::1]"))),
        admin_password=text["WAYBILL_ADMIN_PASSWORD"],
        web_processes=_number(environ, "WAYBILL_WEB_PROCESSES", 2, 1, 64),
        agent_events_per_s=_number(environ, "WAYBILL_AGENT_EVENTS_PER_S", 0, 0, 10_000_000),
        agent_bytes_per_s=_number(environ, "WAYBILL_AGENT_BYTES_PER_S", 0, 0, 10_000_000_000),
        disk_paths=tuple(Path(p.strip()) for p in (text["WAYBILL_DISK_PATHS"] or "").split(os.pathsep) if p.strip()),
        disk_reserve_percent=_number(environ, "WAYBILL_DISK_RESERVE_PERCENT", 10, 0, 90),
        overdue_minutes=_number(environ, "WAYBILL_OVERDUE_MINUTES", 12, 1, 10_080),
        compensation_senders=_number(environ, "WAYBILL_COMPENSATION_SENDERS", 1, 1, 256),
        approve_above=_number(environ, "WAYBILL_APPROVE_ABOVE", 0, 0, 1_000_000)
        if text["WAYBILL_APPROVE_ABOVE"]
        else None,
        log_level=(text["WAYBILL_LOG_LEVEL"] or "INFO").upper(),
        database_url=text["DATABASE_URL"],
        redis_url=text["REDIS_URL"],
        prepared_statements=_flag(environ, "WAYBILL_PREPARED_STATEMENTS", True),
        kafka_brokers=text["WAYBILL_KAFKA_BROKERS"],
        kafka_properties=Path(text["WAYBILL_KAFKA_PROPERTIES"]) if text["WAYBILL_KAFKA_PROPERTIES"] else None,
        elasticsearch_urls=elasticsearch,
        elasticsearch_api_key=text["ELASTICSEARCH_API_KEY"],
        elasticsearch_ca=authority,
        elasticsearch_prefix=_index_prefix(text["ELASTICSEARCH_PREFIX"] or "waybill"),
        mail_server=parse_mail_url(text["EMAIL_URL"], console_host=host) if text["EMAIL_URL"] else None,
        demo=_flag(environ, "DEMO", True),
        multiprocess_metrics=Path(text["PROMETHEUS_MULTIPROC_DIR"]) if text["PROMETHEUS_MULTIPROC_DIR"] else None,
        demo_rabbitmq_url=text["WAYBILL_DEMO_RABBITMQ_URL"],
        given_secret_key=key,
        given_master_key=text["WAYBILL_MASTER_KEY"],
        given_previous_master_key=text["WAYBILL_MASTER_KEY_PREVIOUS"],
    )
