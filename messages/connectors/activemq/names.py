"""Names of destinations and headers as STOMP writes them. Pure."""

from __future__ import annotations


def wire_name(name: str, *, artemis: bool) -> str:
    """Return a destination as this broker's STOMP names it: Classic wants to hear what it is, Artemis takes the name as it is."""
    return name if artemis or name.startswith("/") else f"/queue/{name}"


def misread(name: str) -> str:
    """Return why this would be another queue than it says, to Classic over STOMP and to Artemis over AMQP 1.0; "" when it would not."""
    return (
        f"a name there has no question mark: what follows it in “{name}” are options, of another queue"
        if "?" in name
        else ""
    )


def plain_name(destination: str) -> str:
    """Return a queue without what STOMP puts before it; a topic keeps it, since it is no queue."""
    return destination.removeprefix("/queue/")


def queue_of(name: str) -> str:
    """Return the queue of a name that may be address::queue."""
    return plain_name(name).rpartition("::")[2]


def address_of(name: str) -> str:
    """Return the address of a name that may be address::queue."""
    return plain_name(name).partition("::")[0]


def escaped(text: str) -> str:
    """Return a header's name or value as a STOMP 1.2 frame holds it."""
    return text.replace("\\", "\\\\").replace("\r", "\\r").replace("\n", "\\n").replace(":", "\\c")
