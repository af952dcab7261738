"""HTTP: one deadline for the whole exchange, and TLS with those who are trusted."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from messages.connectors.base import Address, Header
from messages.connectors.http.connector import HTTPConnector
from tests.contracts.benches import http_bench
from tests.contracts.test_connectors import outgoing
from tests.engines.receiver import Answer, receiving

TRICKLES = {
    "before its status": (b"HTTP/1.1 2", "unknown"),
    "within its headers": (b"HTTP/1.1 202 Accepted\r\nX-Slow: ", "unknown"),
    "after its status is known": (b"HTTP/1.1 202 Accepted\r\nContent-Length: 60000\r\n\r\n", "confirmed"),
}


@pytest.mark.parametrize(("begins", "result"), TRICKLES.values(), ids=TRICKLES)
def test_http_gives_the_whole_exchange_one_deadline_however_slowly_the_answer_trickles(begins: bytes, result: str):
    def trickle(listener: socket.socket) -> None:
        with listener.accept()[0] as line, contextlib.suppress(OSError):
            line.sendall(begins)
            while True:
                line.sendall(b"0")
                gone.wait(0.02)

    gone = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=trickle, args=(listener,), daemon=True)
        thread.start()
        address = Address(url=f"http://127.0.0.1:{listener.getsockname()[1]}")
        began = time.monotonic()

        [published] = HTTPConnector(address).publish([outgoing("x")], timeout_s=0.5)

        assert (published.result, time.monotonic() - began < 5) == (result, True)
        thread.join(5)
        assert not thread.is_alive()  # we hung up


@pytest.mark.parametrize("secret", ["s3cret\n", "s3cret\r\nX-Admin: 1", "s3cret…", "s3 cret\x00"])
def test_a_token_that_no_header_takes_is_refused_in_words_that_do_not_quote_it(secret: str):
    with receiving([Answer(status=202)]) as receiver:
        connector = HTTPConnector(Address(url=receiver.url, secret=secret))

        [published] = connector.publish([outgoing("x")], timeout_s=5)
        checks = connector.check(None)

    assert (published.result, "the stored token cannot be sent" in published.detail) == ("refused", True)
    assert [(one.question, one.answer) for one in checks] == [("reached", True), ("authenticated", False)]
    assert "s3" not in f"{published} {checks}"


def test_a_host_whose_name_is_none_is_said_to_be_out_of_reach():
    address = Address(url=f"http://{'a' * 70}.example/")

    [published] = HTTPConnector(address).publish([outgoing("x")], timeout_s=5)

    assert (published.result, HTTPConnector(address).check(None)[0].answer) == ("unavailable", False)


def certificate_of_this_machine(folder: Path) -> Path:
    """Return a file with a key and a certificate of 127.0.0.1 that it signed itself."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "here")])
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(1), now + timedelta(1))
    file = folder / "here.pem"
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(plain + made.add_extension(here, False).sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    return file


@pytest.mark.parametrize(("trusted", "result"), [(True, "confirmed"), (False, "refused")])
def test_http_speaks_tls_with_those_whose_certificate_is_trusted(
    trusted: bool, result: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = certificate_of_this_machine(tmp_path)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
    guard = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    guard.load_cert_chain(file)
    for bench in http_bench(guard):
        url = bench.address.url.replace("http://", "https://")

        [published] = HTTPConnector(Address(url=url)).publish([outgoing("open")], timeout_s=5)

        assert published.result == result


def test_http_gives_up_on_an_endpoint_that_does_not_read():
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        address = Address(url=f"http://127.0.0.1:{deaf.getsockname()[1]}")

        [published] = HTTPConnector(address).publish([outgoing("x", body=bytes(30_000_000))], timeout_s=0.5)

    assert published.result == "unknown"


FAULT = (
    b'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault><faultcode>s:Client</faultcode>'
    b"<faultstring>no such order</faultstring></s:Fault></s:Body></s:Envelope>"
)
FAILED = b'{"data": null, "errors": [{"message": "down", "extensions": {"code": "INTERNAL_SERVER_ERROR"}}]}'


def test_http_200_is_not_believed_when_the_body_tells_of_a_failure_and_wishes_are_handed_on():
    answers = [
        Answer(200, FAULT, {"Content-Type": "text/xml; charset=utf-8"}),
        Answer(200, FAILED, {"Content-Type": "application/json"}),
        Answer(200, FAILED, {"Content-Type": "text/plain"}),
        Answer(429, b"slow down", {"Retry-After": "7"}),
        Answer(200, headers={"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "9"}),
    ]
    with receiving(*answers) as receiver:
        results = HTTPConnector(Address(url=receiver.url)).publish([outgoing("x")] * 5, timeout_s=5)

    assert [(r.result, r.retry_after_s) for r in results] == [
        ("refused", None), ("unavailable", None), ("confirmed", None), ("unavailable", 7), ("confirmed", 9),
    ]  # fmt: skip
    assert results[0].detail == "HTTP 200: SOAP fault s:Client: no such order"
    assert results[3].detail == "HTTP 429: slow down; it asks to send nothing for 7 s"


def test_http_goes_back_by_the_letters_own_method_to_its_own_path_or_nowhere():
    back = [
        outgoing("x", route={"method": method, "path": "/base/orders/4711?source=web"}) for method in ("PUT", "DELETE")
    ]
    away = outgoing("x", route={"method": "POST", "path": "/admin"})
    with receiving() as receiver:
        results = HTTPConnector(Address(url=f"{receiver.url}/base")).publish([*back, away], timeout_s=5)

    assert [(came.method, came.path) for came in receiver.came] == [
        ("PUT", "/base/orders/4711?source=web"), ("DELETE", "/base/orders/4711?source=web"),
    ]  # fmt: skip
    assert [r.result for r in results] == ["confirmed", "confirmed", "refused"]
    assert "not below the approved address" in results[2].detail


def test_http_asks_for_an_answer_that_it_can_read():
    sent = outgoing("x", headers=(Header(name="Accept-Encoding", type="string", value="gzip, br"),))
    with receiving() as receiver:
        HTTPConnector(Address(url=receiver.url)).publish([sent], timeout_s=5)

    assert receiver.came[0].headers["accept-encoding"] == "identity"
