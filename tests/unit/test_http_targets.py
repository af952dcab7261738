"""Where a message goes: back to its own path and method, and never above or elsewhere than the approved address."""

from __future__ import annotations

import pytest

from messages.connectors.base import Outgoing
from messages.connectors.http.targets import NotBelow, request_line


def line(base: str, destination: str = "x", **route: str) -> tuple[str, str]:
    return request_line(base, Outgoing(id="1", destination=destination, body=b"", route=route))


BACK = [
    ("", "/orders?x=1&y=a%20b", "/orders?x=1&y=a%20b"),
    ("/", "/", "/"),
    ("/api/", "/api", "/api"),
    ("/api", "/api/orders/4711/", "/api/orders/4711/"),
    ("/api", "/api/a%2Fb?q=/../x?#top", "/api/a%2Fb?q=/../x?"),
    ("/api", "/api/für uns?[x]=ü\r\n", "/api/f%C3%BCr%20uns?%5Bx%5D=%C3%BC%0D%0A"),
]


@pytest.mark.parametrize(("base", "path", "wanted"), BACK)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_letter_goes_back_to_its_own_path_by_its_own_method(base: str, path: str, wanted: str, method: str):
    assert line(base, method=method.lower(), path=path) == (method, wanted)


ELSEWHERE = [
    "/", "/apix", "/orders", "/api/../orders", "/api/%2e%2e/orders", "/api/%252e%252e/orders", "/api/..;/orders", "/api/..%3bx/orders",
    "/api/a%2f..%2f../orders", "/api\\..\\orders", "/api/a\\..\\..\\b", "//evil.example/api", "/api//x", "http://evil.example/api/x", "api/x", "", "?x",
    "/api/./x", "@evil.example/api", "/API/x",
]  # fmt: skip


@pytest.mark.parametrize("path", ELSEWHERE)
def test_a_path_that_is_not_below_the_approved_address_is_refused_and_not_bent(path: str):
    with pytest.raises(NotBelow):
        line("/api", method="POST", path=path)


@pytest.mark.parametrize("method", ["GET", "HEAD", "CONNECT", "POST /x HTTP/1.1\r\nX: y", ""])
def test_only_methods_that_send_something_are_used(method: str):
    with pytest.raises(NotBelow):
        line("", method=method, path="/x")


CHOSEN = [
    ("/base", "open", ("POST", "/base/open")),
    ("/base", "/open?x=1", ("POST", "/base/open?x=1")),
    ("/base", "/base/open", ("POST", "/base/open")),
    ("/base", "PUT /base/open?x=1", ("PUT", "/base/open?x=1")),
    ("/base", "DELETE /open", ("DELETE", "/base/open")),
    ("/base", "GET /open", ("POST", "/base/GET%20/open")),
    ("/base", "PUT /../x", ("PUT", "/base/x")),
    ("/base", "/base/../x", ("POST", "/base/x")),
    ("/base", "http://evil.example/?y", ("POST", "/base")),
    ("", "//evil.example", ("POST", "/evil.example")),
    ("", "", ("POST", "/")),
]


@pytest.mark.parametrize(("base", "destination", "wanted"), CHOSEN)
def test_a_destination_that_a_person_chose_is_below_the_approved_address(
    base: str, destination: str, wanted: tuple[str, str]
):
    assert line(base, destination) == wanted
