"""URLs taken apart, and where a token may be sent."""

from __future__ import annotations

import pytest

from app.http.address import Origin, address_of, is_secure


@pytest.mark.parametrize(
    ("url", "secure"),
    [
        ("https://x.example/Service.asmx", True),
        ("http://127.0.0.1:8080/", True),
        ("http://localhost/", True),
        ("http://[::1]:1/", True),
        ("http://x.example/", False),
        ("http://127.0.0.1.x.example/", False),
        ("http://localhost.x.example/", False),
        ("http://user@x.example/", False),
        ("ftp://x.example/", False),
        ("x.example", False),
        ("https://", False),
        ("", False),
    ],
)
def test_where_a_token_may_be_sent(url: str, secure: bool) -> None:
    assert is_secure(url) is secure


@pytest.mark.parametrize(
    ("url", "origin", "head"),
    [
        ("https://x.example/a?b=c#d", Origin("x.example", 443, True), "POST /a?b=c HTTP/1.1\r\nHost: x.example\r\n"),
        ("https://x.example", Origin("x.example", 443, True), "POST / HTTP/1.1\r\nHost: x.example\r\n"),
        ("https://X.example:8443/", Origin("x.example", 8443, True), "POST / HTTP/1.1\r\nHost: x.example:8443\r\n"),
        ("http://[::1]:81/", Origin("::1", 81, False), "POST / HTTP/1.1\r\nHost: [::1]:81\r\n"),
        ("https://bücher.example/ä b", Origin("xn--bcher-kva.example", 443, True),
         "POST /%C3%A4%20b HTTP/1.1\r\nHost: xn--bcher-kva.example\r\n"),
        ("https://ann:p%40ss@x.example/", Origin("x.example", 443, True),
         "POST / HTTP/1.1\r\nHost: x.example\r\nAuthorization: Basic YW5uOnBAc3M=\r\n"),
    ],
)  # fmt: skip
def test_where_a_request_goes(url: str, origin: Origin, head: str) -> None:
    address = address_of(url)
    assert (address.origin, address.head.decode()) == (origin, head)


@pytest.mark.parametrize("url", ["", "x.example", "ftp://x.example/", "https://", "https://x.example:99999/"])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        address_of(url)


def test_a_line_break_cannot_get_into_the_request() -> None:
    assert address_of("https://x.example/a\r\nEvil: yes").head.count(b"\n") == 2


def test_an_origin_is_shown_as_host_and_port_without_credentials() -> None:
    assert str(address_of("https://ann:secret@x.example/").origin) == "x.example:443"
    assert str(address_of("http://[::1]:81/").origin) == "[::1]:81"
