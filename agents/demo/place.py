"""Where the estate finds the console, its keys and its own files."""

from __future__ import annotations

from pathlib import Path

from console.core.config import Config
from console.core.errors import ConfigurationError

ESTATE_KEY, HARVESTER_KEY = "estate.key", "harvester.key"


def folder(config: Config) -> Path:
    return config.data / "demo"


def console_address(config: Config) -> str:
    """Return the console's own address on this machine: the public one may lead through a proxy that is not up yet."""
    host = "127.0.0.1" if config.bind in {"0.0.0.0", ""} else config.bind  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host else host}:{config.port}"


def read_key(config: Config, name: str) -> str:
    try:
        return (folder(config) / name).read_text().strip()
    except OSError as error:
        raise ConfigurationError(
            f"the demo has no key in {folder(config) / name}: run `python manage.py setup_demo`"
        ) from error
