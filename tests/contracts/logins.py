"""A login of its own at each family's broker, which an administrator takes away while it is used, and gives back."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import redis
from confluent_kafka.admin import AclOperation, ResourceType

from messages.connectors.activemq.client import Line, LoginRefused
from messages.connectors.activemq.management import Manager
from messages.connectors.base import Address
from tests.contracts.yards import ActiveMQYard, Amqp10Yard, ArtemisYard, KafkaYard, RabbitYard, RedisYard, SqsYard, Yard
from tests.engines.kafka import PASSWORD, USER
from tests.engines.moto import Moto
from tests.engines.rabbitmq import INSTALLED
from tests.product import wait_until


class Login:
    """`address` is that of the login; `words`: one of them is in what the broker says without it."""

    words: tuple[str, ...] = ()

    def __init__(self, yard: Any, address: Address) -> None:
        self.yard, self.address = yard, address

    def ready(self, queue: str) -> None: ...

    def revoke(self) -> None:
        raise NotImplementedError

    def restore(self) -> None:
        raise NotImplementedError

    def close(self) -> None: ...


class RabbitLogin(Login):
    words = ("ACCESS_REFUSED",)

    def __init__(self, yard: RabbitYard) -> None:
        host = yard.broker.url.partition("@")[2]
        super().__init__(yard, Address(url=f"amqp://{host}", username="waybill", secret="s"))
        self._run(
            'rabbit_auth_backend_internal:add_user(<<"waybill">>, <<"s">>, <<"tests">>), '
            'rabbit_auth_backend_internal:set_permissions(<<"waybill">>, <<"/">>, <<".*">>, <<".*">>, <<".*">>, <<"tests">>).'
        )

    def _run(self, erlang: str) -> None:
        command = [str(INSTALLED.with_name("rabbitmqctl")), "eval", erlang]
        subprocess.run(command, env=self.yard.broker.environ, check=True, capture_output=True)

    def _password(self, password: str) -> str:
        return f'rabbit_auth_backend_internal:change_password(<<"waybill">>, <<"{password}">>, <<"tests">>)'

    def revoke(self) -> None:
        close = '[rabbit_networking:close_connection(P, "revoked") || P <- rabbit_networking:local_connections()].'
        self._run(f"{self._password('other')}, {close}")

    def restore(self) -> None:
        self._run(f"{self._password('s')}.")


class KafkaLogin(Login):
    words = ("AUTHORIZATION_FAILED",)

    def __init__(self, yard: KafkaYard) -> None:
        options = {"ssl.ca.location": str(yard.broker.authority)}
        super().__init__(
            yard, Address(url=f"kafka+ssl://{yard.broker.safe}", username=USER, secret=PASSWORD, options=options)
        )
        self.rights: list[tuple[AclOperation, str, ResourceType]] = []

    def ready(self, queue: str) -> None:
        self.rights = [
            (AclOperation.READ, queue, ResourceType.TOPIC),
            (AclOperation.WRITE, queue, ResourceType.TOPIC),
            (AclOperation.READ, f"waybill.{queue}", ResourceType.GROUP),
        ]
        self.restore()

    def revoke(self) -> None:
        for operation, name, kind in self.rights:
            self.yard.broker.forbid(operation, name, kind)

    def restore(self) -> None:
        for operation, name, kind in self.rights:
            self.yard.broker.allow(operation, name, kind)


ACTIONS = (
    "GetQueueUrl", "GetQueueAttributes", "ReceiveMessage", "DeleteMessage", "DeleteMessageBatch", "SendMessage", "SendMessageBatch",
    "ChangeMessageVisibility", "ChangeMessageVisibilityBatch",
)  # fmt: skip


class SqsLogin(Login):
    """At moto, which checks who asks, as LocalStack does not, but knows no key that comes back: its rights go."""

    words = ("lacks a right",)
    user = "waybill"

    def __init__(self, yard: SqsYard) -> None:
        self.moto = Moto().__enter__()
        self.kept = yard.address, yard.client
        yard.client = self.moto.client("sqs")
        yard.address, address = self._address("somebody"), self._address(self.user)
        super().__init__(yard, address)

    def _address(self, user: str) -> Address:
        key, secret = self.moto.login(*ACTIONS, user=user)
        return Address(url=f"sqs+{self.moto.url}?region=eu-central-1", username=key, secret=secret)

    def ready(self, queue: str) -> None:
        self.yard.make_again(queue)
        self.restore()

    def _may(self, actions: Sequence[str]) -> None:
        self.moto.guard(False)
        self.moto.allow(self.user, *actions)
        self.moto.guard(True)

    def revoke(self) -> None:
        self._may(())

    def restore(self) -> None:
        self._may(ACTIONS)

    def close(self) -> None:
        self.yard.client.close()
        self.yard.address, self.yard.client = self.kept
        self.moto.__exit__(None, None, None)


class ActiveMQLogin(Login):
    """Classic reads its users when it starts."""

    words = ("User name [waybill] or password is invalid",)

    def __init__(self, yard: ActiveMQYard) -> None:
        super().__init__(yard, yard.address)

    def _start_with(self, old: str, new: str) -> None:
        self.yard.broker.kill()
        file = self.yard.broker.folder / "activemq.xml"
        file.write_text(file.read_text().replace(f'password="{old}"', f'password="{new}"'))
        self.yard.broker.start(login_refused_too=True)

    def revoke(self) -> None:
        self._start_with(self.address.secret, "other")

    def restore(self) -> None:
        self._start_with("other", self.address.secret)


class ArtemisLogin(Login):
    """Artemis reads its users anew when their file has changed; who is logged in stays so, until somebody hangs up on them."""

    words = ("User name [waybill] or password is invalid", "does not take this user name")

    def __init__(self, yard: ArtemisYard) -> None:
        super().__init__(yard, yard.address)
        files = [yard.broker.home / "etc" / f"artemis-{what}.properties" for what in ("users", "roles")]
        self.kept = {file: file.read_text() for file in files}
        self.users, roles = files
        self._write(self.users, self.kept[self.users] + "\nadmin = other\n")
        self._write(roles, "amq = waybill,admin\n")
        self.admin = replace(yard.broker.address, username="admin", secret="other")
        wait_until(lambda: self._takes(self.admin), seconds=20, what="Artemis to read its users", every=0.1)

    @staticmethod
    def _takes(address: Address) -> bool:
        try:
            Line(address, timeout_s=5).close()
        except LoginRefused:
            return False
        return True

    @staticmethod
    def _write(file: Path, text: str) -> None:
        """Write it at once and whole, as if in two seconds.

        Artemis reads a file again that is newer than its last reading of it. The time of a file lags behind by some milliseconds: what it
        reads between emptied and written, or just before, it would keep for ever.
        """
        half, later = file.with_suffix(".half"), time.time() + 2
        half.write_text(text)
        os.utime(half, (later, later))
        half.replace(file)

    def revoke(self) -> None:
        self._write(self.users, "admin = other\n")
        wait_until(lambda: not self._takes(self.yard.broker.address), seconds=20, what="a refused login", every=0.1)
        with contextlib.closing(Manager(self.admin)) as manager:
            lines = manager.ask("broker", operation="listConnectionIDs")
        for one in lines:
            with contextlib.closing(Manager(self.admin)) as manager, contextlib.suppress(LookupError):
                manager.ask("broker", operation="closeConnectionWithID", arguments=(one,))

    def restore(self) -> None:
        for file, text in self.kept.items():
            self._write(file, text)
        wait_until(
            lambda: self._takes(self.yard.broker.address), seconds=20, what="Artemis to read its users", every=0.1
        )

    def close(self) -> None:
        self.restore()


class RedisLogin(Login):
    words = ("WRONGPASS", "invalid username-password")

    def __init__(self, yard: RedisYard) -> None:
        host = yard.url.rpartition("@")[2]
        super().__init__(yard, Address(url=f"redis://{host}", username="waybill", secret="s"))
        self.restore()

    def _set(self, *rules: str) -> None:
        with contextlib.closing(redis.Redis.from_url(self.yard.url)) as client:
            client.execute_command("ACL", "SETUSER", "waybill", *rules)

    def revoke(self) -> None:
        self._set("resetpass")
        with contextlib.closing(redis.Redis.from_url(self.yard.url)) as client:
            client.execute_command("CLIENT", "KILL", "USER", "waybill")

    def restore(self) -> None:
        self._set("on", ">s", "~*", "+@all")


LOGINS: dict[type[Yard], Any] = {
    RabbitYard: RabbitLogin, KafkaYard: KafkaLogin, SqsYard: SqsLogin, ActiveMQYard: ActiveMQLogin, ArtemisYard: ArtemisLogin,
    Amqp10Yard: ArtemisLogin, RedisYard: RedisLogin,
}  # fmt: skip


@contextlib.contextmanager
def login_at(yard: Yard) -> Iterator[Login]:
    login: Login = LOGINS[type(yard)](yard)
    try:
        yield login
    finally:
        login.close()
