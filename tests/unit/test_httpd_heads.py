import pytest

from lambent.httpd.heads import MalformedHeader, date_line, encode, has_no_body, header_lines, status_line


def test_the_date_is_in_the_form_of_http() -> None:
    assert date_line(784_111_777) == "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"


def test_a_status_without_a_phrase_still_makes_a_line() -> None:
    assert status_line(404) == "HTTP/1.1 404 Not Found\r\n"
    assert status_line(299) == "HTTP/1.1 299 \r\n"


@pytest.mark.parametrize(("status", "expected"), [(101, True), (200, False), (204, True), (304, True), (404, False)])
def test_statuses_that_have_no_body(status: int, expected: bool) -> None:
    assert has_no_body(status) is expected


def test_framing_is_taken_out_of_a_doors_headers_and_told() -> None:
    given = [("X-A", "1"), ("Content-Length", "7"), ("Connection", "Close"), ("Date", "x"), ("Set-Cookie", "a"), ("Set-Cookie", "b")]  # fmt: skip
    assert header_lines(given) == ("X-A: 1\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n", "7", True)
    assert header_lines([]) == ("", None, False)


@pytest.mark.parametrize("header", [("a", "1\r"), ("a", "\n1"), ("a\r\nb", "1"), ("a", "\0")])
def test_a_line_break_or_nul_is_refused(header: tuple[str, str]) -> None:
    with pytest.raises(MalformedHeader):
        header_lines([("ok", "1"), header])


def test_text_outside_latin_1_goes_out_as_utf_8() -> None:
    assert encode("é") == b"\xe9"
    assert encode("€") == "€".encode()
