"""The private Elasticsearch with its own security: TLS by an authority of the test's own, a user with a password, and API keys."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from typing import Any

from elasticsearch import Elasticsearch as Client

from tests.engines.elasticsearch import CACHE, Elasticsearch
from tests.engines.kafka import certificate_of

INSTALLED = CACHE / "elasticsearch-8.19.0-security"
USER, PASSWORD = "root", "pass@word of the tests"


class SecuredElasticsearch(Elasticsearch):
    """`authority` is the PEM file that its certificate is checked against; the user may do everything, a key what it is given."""

    installed = INSTALLED

    def __init__(self) -> None:
        super().__init__()
        config = self.folder / "config"
        config.mkdir()
        self.authority = config / "authority.pem"
        both = certificate_of(self.authority)
        self.url = f"https://127.0.0.1:{self.port}"
        (config / "users").write_text(f"{USER}:{_hashed(PASSWORD)}\n")
        (config / "users_roles").write_text(f"superuser:{USER}\n")
        tls = [
            f"xpack.security.http.ssl.{name}"
            for name in ("enabled=true", f"certificate={self.authority}", f"key={both}")
        ]
        self.more = [str(config), "xpack.security.enabled=true", *tls]

    def client(self) -> Client:
        return Client(
            self.url, ca_certs=str(self.authority), basic_auth=(USER, PASSWORD), request_timeout=30, max_retries=0
        )

    def key(self, cluster: Sequence[str], indices: Sequence[dict[str, Any]]) -> str:
        """Return an API key that may do this and nothing else, as it is sent."""
        with self.client() as client:
            made = client.security.create_api_key(
                name="tests", role_descriptors={"console": {"cluster": list(cluster), "indices": list(indices)}}
            )
        return str(made["encoded"])


def _hashed(password: str) -> str:
    """Return a password as the file of users has it: PBKDF2 with SHA-512 (Elasticsearch, authc.support.Hasher)."""
    salt = os.urandom(32)
    key = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 10_000, 32)
    return f"{{PBKDF2}}10000${base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"
