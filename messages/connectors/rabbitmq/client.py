"""A connection to RabbitMQ, and what can be asked before anything is done."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pika
from pika import exceptions as amqp

from messages.connectors.base import Address, Check
from messages.connectors.rabbitmq import fields

REFUSED_LOGIN = (amqp.ProbableAuthenticationError, amqp.ProbableAccessDeniedError, amqp.AuthenticationError)
BROKEN = (amqp.AMQPError, OSError, ValueError)  # the line, or the address
HEARTBEAT_S = 30
fields.install()


def parameters_of(address: Address, *, timeout_s: float) -> pika.connection.Parameters:
    """Return how to connect; raises ValueError for an address that is none."""
    try:
        parameters = pika.URLParameters(address.url)
    except (IndexError, TypeError, SyntaxError) as error:
        raise ValueError("the address is not like amqp://host:5672/vhost") from error
    if address.username:
        parameters.credentials = pika.PlainCredentials(address.username, address.secret)
    parameters.socket_timeout = parameters.stack_timeout = parameters.blocked_connection_timeout = timeout_s
    parameters.connection_attempts = 1
    parameters.heartbeat = HEARTBEAT_S
    parameters.client_properties = {"connection_name": "waybill"}
    return parameters


def says(error: Exception) -> str:
    return " ".join((str(error) or repr(error)).split())[:300] or type(error).__name__


def checked(
    address: Address, queue: str | None, question: Any, words: str, *, asking: Callable[[Any], Check] | None = None
) -> list[Check]:
    """Ask a broker, one question after the other, until one is answered with no. `asking` answers the last, by a channel."""
    try:
        connection = pika.BlockingConnection(parameters_of(address, timeout_s=5))
    except REFUSED_LOGIN as error:
        return [
            Check(question="reached", answer=True, detail="RabbitMQ answers"),
            Check(question="authenticated", answer=False, detail=says(error)),
        ]
    except (amqp.AMQPError, OSError, ValueError) as error:
        return [Check(question="reached", answer=False, detail=f"RabbitMQ does not answer: {says(error)}")]
    checks = [
        Check(question="reached", answer=True, detail="RabbitMQ answers"),
        Check(question="authenticated", answer=True, detail="the login is accepted"),
    ]
    try:
        channel = connection.channel()
        channel.confirm_delivery()
        if queue:
            count = channel.queue_declare(queue, passive=True).method.message_count
            checks.append(Check(question="queue exists", answer=True, detail=f"queue {queue} holds {count}"))
        checks.append(asking(channel) if asking else Check(question=question, answer=True, detail=words))
    except amqp.ChannelClosedByBroker as error:
        missing = error.reply_code == 404
        checks.append(
            Check(
                question="queue exists" if missing else question,
                answer=False,
                detail=f"{error.reply_code} {error.reply_text}",
            )
        )
    except (amqp.AMQPError, OSError) as error:
        checks.append(Check(question=question, answer=False, detail=says(error)))
    finally:
        with contextlib.suppress(amqp.AMQPError, OSError):
            connection.close()
    return checks
