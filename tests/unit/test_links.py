"""Which addresses pages lead to."""

from __future__ import annotations

import pytest

from console.core.errors import Invalid
from console.core.links import is_link
from messages.catalog.runbooks import check_runbook


@pytest.mark.parametrize(
    "url",
    [
        "https://wiki/vat", "http://wiki", "HTTPS://Wiki:8443/vat?id=1#top", "https://wiki.example/vat", "http://10.0.0.1/", "http://[::1]:8000/",
        "https://bücher.example/ä", "https://localhost/x",
    ],
)  # fmt: skip
def test_a_runbook_is_an_address_of_the_web_and_its_host_may_have_no_dot(url: str):
    assert is_link(url)
    assert check_runbook(f" {url} ") == url


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)", "JavaScript://wiki/%0aalert(1)", "java\nscript:alert(1)", "data:text/html,x", "vbscript:x", "file:///etc/passwd",
        "ftp://wiki/vat", "wiki/vat", "//wiki/vat", "https:wiki", "https://", "https:///vat", "https://…", "https://:443/", "https://wiki:99999/",
        "https://wiki:x/", "https://[::1", "https://wi ki/vat", "https://wiki/v at", "https://wiki/v\tat", "https://wiki/v\nat", "https://wiki/\x7f",
        "https://wiki/\u202evat", "https://wiki/\u00a0vat", "\x01https://wiki/vat",
    ],
)  # fmt: skip
def test_what_is_no_address_of_the_web_is_no_runbook(url: str):
    assert not is_link(url)
    with pytest.raises(Invalid):
        check_runbook(url)


def test_a_runbook_has_at_most_200_characters_and_may_be_none():
    assert check_runbook(" ") == ""
    with pytest.raises(Invalid):
        check_runbook(f"https://wiki/{'x' * 200}")
