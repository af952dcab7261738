"""EMAIL_URL: every way it is written, and refusals that never repeat the password in it."""

from __future__ import annotations

import pytest

from console.core.config import load_config
from console.core.errors import ConfigurationError
from console.core.mail import MailServer, parse_mail_url


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail.example", MailServer(host="mail.example", port=25, sender="waybill@console.example")),
        (
            "smtp+tls://ada:p%40ss%2Fword@mail.example?from=ops@example.com",
            MailServer(
                host="mail.example", port=587, user="ada", password="p@ss/word", starttls=True, sender="ops@example.com"
            ),
        ),
        (
            "smtp+ssl://mail.example:4650/",
            MailServer(host="mail.example", port=4650, tls=True, sender="waybill@console.example"),
        ),
        ("smtp://[::1]:2525", MailServer(host="::1", port=2525, sender="waybill@console.example")),
    ],
)
def test_a_server_is_read(url: str, server: MailServer):
    assert parse_mail_url(url, console_host="console.example") == server


@pytest.mark.parametrize(
    "url",
    [
        "mail.example", "http://ada:secretword@mail.example", "smtp://", "smtp://ada:secretword@", "smtp://ada:secretword@h:99999",
        "smtp://ada:secretword@h:x", "smtp://ada:secretword@h/inbox", "smtp://ada:secretword@h?to=b", "smtp://ada:secretword@h?from=nobody",
        "smtp://ada:secretword@h?from=a@b.c%0aBcc:x@y.z", "smtp://ada:secretword@h?from", "smtp://[ada:secretword",
    ],
)  # fmt: skip
def test_what_is_no_server_ends_the_start_with_one_sentence_and_without_the_password(url: str):
    with pytest.raises(ConfigurationError) as refused:
        load_config({"EMAIL_URL": url})

    assert "EMAIL_URL" in str(refused.value)
    assert "secretword" not in str(refused.value)


def test_without_it_there_is_no_server():
    assert load_config({}).mail_server is None
