"""The files with which a harvester is started: harvest.toml, its secrets' file, the lines for Docker and systemd. Pure.

Secrets are in none but harvest.env, and there only the agent key, when it was made a moment ago.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from messages.connectors import families, why_no_mirror

KEY_VARIABLE = "WAYBILL_AGENT_KEY"
FOLDER = "/etc/waybill"
MOST_QUEUES = 200  # as many as a look through a broker offers
LONGEST_QUEUE = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What somebody wants to be harvested: one broker, some of its queues. management: where the broker tells more of them, "" for nowhere."""

    console: str
    agent: str
    broker: str
    kind: str
    address: str
    username: str
    with_secret: bool
    queues: Sequence[str]
    system: str
    mode: str
    management: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Text to paste."""

    toml: str
    environment: str
    check: str
    docker: str
    systemd: str


def why_not(wanted: Wanted) -> str:
    """Return why this cannot be harvested so, in words; "" when it can."""
    kinds = [family.kind for family in families() if family.source]
    if wanted.kind not in kinds:
        return f"dead letters of kind {wanted.kind} are not harvested, they are pushed; harvested are {', '.join(sorted(kinds))}"
    if wanted.mode == "mirror" and (why := why_no_mirror(wanted.kind)):
        return f"these queues cannot be mirrored: {why}. Move them"
    return ""


def files_of(wanted: Wanted, *, key: str = "") -> Files:
    """Return the files; `key`, when it is given, stands in harvest.env."""
    return Files(
        toml=_toml(wanted),
        environment=_environment(wanted, key),
        check=(
            "set -a; . ./harvest.env; set +a\n"
            ".venv/bin/python -m agents check --config harvest.toml\n"
            ".venv/bin/python -m agents harvest --config harvest.toml"
        ),
        docker=_docker(wanted),
        systemd=_systemd(wanted),
    )


def secret_variable(broker: str) -> str:
    """Return the environment variable for the password of a broker of this name."""
    name = re.sub(r"[^A-Z0-9]+", "_", broker.upper()).strip("_") or "BROKER"
    return f"{'_' if name[0].isdigit() else ''}{name}_PASSWORD"


def _toml(wanted: Wanted) -> str:
    lines = [
        f"console = {_quoted(wanted.console)}",
        f"name = {_quoted(wanted.agent)}",
        f"key_env = {_quoted(KEY_VARIABLE)}",
        "",
        "[[broker]]",
        f"name = {_quoted(wanted.broker)}",
        f"kind = {_quoted(wanted.kind)}",
        f"address = {_quoted(wanted.address)}",
    ]
    if wanted.username:
        lines.append(f"username = {_quoted(wanted.username)}")
    if wanted.with_secret:
        lines.append(f"secret_env = {_quoted(secret_variable(wanted.broker))}")
    if wanted.management:
        lines += ["", "[broker.options]", f"management = {_quoted(wanted.management)}"]
    for queue in wanted.queues:
        lines += ["", "[[broker.queue]]", f"name = {_quoted(queue)}"]
        if wanted.system:
            lines.append(f"system = {_quoted(wanted.system)}")
        if wanted.mode != "move":
            lines.append(f"mode = {_quoted(wanted.mode)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """Return a basic string of TOML: JSON's escapes are TOML's, but for DEL, which TOML wants escaped too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _environment(wanted: Wanted, key: str) -> str:
    lines = [f"{KEY_VARIABLE}={key or 'KEY'}"]
    if wanted.with_secret:
        lines.append(f"{secret_variable(wanted.broker)}=…")
    return "\n".join(lines) + "\n"


def _unit(wanted: Wanted) -> str:
    return re.sub(r"[^a-zA-Z0-9]+", "-", wanted.agent).strip("-").lower() or "harvester"


def _docker(wanted: Wanted) -> str:
    return (
        "docker build -t waybill -f docker/Dockerfile .\n"
        f"docker run -d --name waybill-{_unit(wanted)} --restart unless-stopped --no-healthcheck \\\n"
        '  --user "$(id -u):$(id -g)" --env-file harvest.env -v "$PWD:/harvest" \\\n'
        "  --entrypoint python waybill -m agents harvest --config /harvest/harvest.toml\n"
    )


def _systemd(wanted: Wanted) -> str:
    return (
        f"# /etc/systemd/system/waybill-{_unit(wanted)}.service\n"
        "[Unit]\nDescription=Waybill harvester\nAfter=network-online.target\nWants=network-online.target\n\n"
        "[Service]\n"
        f"ExecStart=/opt/waybill/.venv/bin/python -m agents harvest --config {FOLDER}/harvest.toml\n"
        "WorkingDirectory=/opt/waybill\n"
        f"EnvironmentFile={FOLDER}/harvest.env\n"
        "Restart=always\n\n[Install]\nWantedBy=multi-user.target\n"
    )
