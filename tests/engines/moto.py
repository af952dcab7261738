"""A private moto server on a free port: an SQS that checks logins and rights. It comes with requirements-dev.txt."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from types import TracebackType
from typing import Any

import boto3

from tests.ports import free_port


class Moto:
    """`with Moto() as cloud:` gives cloud.url. Until guard() every login may do everything."""

    def __init__(self) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self.process: subprocess.Popen[bytes] | None = None

    def client(self, service: str) -> Any:
        login = {"aws_access_key_id": "root", "aws_secret_access_key": "root"}
        return boto3.client(service, endpoint_url=self.url, region_name="eu-central-1", **login)

    def login(self, *actions: str, user: str = "") -> tuple[str, str]:
        """Return the access key id and the secret key of a fresh user who may do these actions."""
        iam, name = self.client("iam"), user or f"user-{time.monotonic_ns()}"
        iam.create_user(UserName=name)
        if actions:
            self.allow(name, *actions)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        iam.close()
        return key["AccessKeyId"], key["SecretAccessKey"]

    def allow(self, user: str, *actions: str) -> None:
        """Let this user do these actions and no others."""
        allowed = {
            "Effect": "Allow",
            "Action": [f"sqs:{action}" for action in actions or ("ListQueues",)],
            "Resource": "*",
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
        iam = self.client("iam")
        iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=policy)
        iam.close()

    def guard(self, on: bool) -> None:
        """Check who asks and whether they may, from now on."""
        count = b"0" if on else b"inf"
        self._post("/moto-api/reset-auth", count)

    def _post(self, path: str, body: bytes) -> None:
        request = urllib.request.Request(self.url + path, body, {"Content-Type": "text/plain"}, method="POST")
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200

    def __enter__(self) -> Moto:
        port = self.url.rpartition(":")[2]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", port],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ), start_new_session=True,
        )  # fmt: skip
        until = time.monotonic() + 60
        while not self._ready():
            assert time.monotonic() < until, "moto does not answer"
            assert self.process.poll() is None, "moto ended"
            time.sleep(0.05)
        return self

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/moto-api/", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()
