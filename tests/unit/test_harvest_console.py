"""How an agent talks to the console."""

from __future__ import annotations

import base64
import os
import socket
import threading

import pytest

from agents.harvest.console import Console, ConsoleAway, ConsoleRefuses

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


def serve(answers: int) -> tuple[str, list[bytes]]:
    """Answer so many connections once each, then hang up without a word, as a server does that recycles its workers."""
    listener, heard = socket.create_server(("127.0.0.1", 0)), []

    def work() -> None:
        for _ in range(answers):
            client, _ = listener.accept()
            with client:
                heard.append(client.recv(65536))
                client.sendall(ANSWER)
        listener.close()

    threading.Thread(target=work, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}", heard


def test_a_kept_connection_that_the_console_has_closed_is_no_console_that_is_away():
    base, heard = serve(2)
    console = Console(base=base, key="wb_agent_x")

    console.heartbeat({"version": "1"})
    console.heartbeat({"version": "2"})
    console.close()

    assert len(heard) == 2


def test_a_console_that_does_not_answer_a_fresh_connection_is_away():
    base, _ = serve(1)
    console = Console(base=base, key="wb_agent_x")
    console.heartbeat({"version": "1"})

    with pytest.raises(ConsoleAway, match="cannot be reached"):
        console.heartbeat({"version": "2"})


def test_who_refuses_a_body_before_it_was_sent_and_hangs_up_is_heard():
    listener = socket.create_server(("127.0.0.1", 0))

    def refuse() -> None:
        client, _ = listener.accept()
        with client:
            client.recv(4096)
            client.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        listener.close()

    threading.Thread(target=refuse, daemon=True).start()
    console = Console(base=f"http://127.0.0.1:{listener.getsockname()[1]}", key="wb_agent_x")

    with pytest.raises(ConsoleRefuses) as said:
        console.push_dead_letters([{"id": "large", "body_base64": base64.b64encode(os.urandom(9_000_000)).decode()}])
    console.close()

    assert said.value.status == 413


def test_a_cut_off_body_that_is_answered_with_200_was_not_taken():
    listener = socket.create_server(("127.0.0.1", 0))

    def greet() -> None:
        client, _ = listener.accept()
        with client:
            client.recv(4096)
            client.sendall(ANSWER)
        listener.close()

    threading.Thread(target=greet, daemon=True).start()
    console = Console(base=f"http://127.0.0.1:{listener.getsockname()[1]}", key="wb_agent_x")

    with pytest.raises(ConsoleAway):
        console.push_dead_letters([{"id": "large", "body_base64": base64.b64encode(os.urandom(9_000_000)).decode()}])
    console.close()
