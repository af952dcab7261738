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

from messages.connectors.base import Address
from messages.connectors.http.connector import HTTPConnector
from tests.contracts.test_connectors import http_bench, outgoing

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
