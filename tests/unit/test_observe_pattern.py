"""Filter patterns as tables; examples follow the user guide of CloudWatch Logs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.observe.faults import InvalidPattern
from lambent.observe.pattern import compile_pattern


@pytest.mark.parametrize(
    ("pattern", "message", "matches"),
    [
        ("", "anything", True),
        ('""', "anything", True),
        ("ERROR", "[ERROR 400] BAD REQUEST", True),
        ("ERROR", "[error 400]", False),
        ("ERROR ARGUMENTS", "[ERROR 419] MISSING ARGUMENTS", True),
        ("ERROR ARGUMENTS", "[ERROR 401] UNAUTHORIZED", False),
        ("?ERROR ?ARGUMENTS", "MISSING ARGUMENTS", True),
        ("?ERROR ?ARGUMENTS", "fine", False),
        ('"INTERNAL SERVER ERROR"', "[ERROR 500] INTERNAL SERVER ERROR", True),
        ('"INTERNAL SERVER ERROR"', "INTERNAL ERROR SERVER", False),
        ("ERROR -ARGUMENTS", "[ERROR 401] UNAUTHORIZED", True),
        ("ERROR -ARGUMENTS", "[ERROR 419] MISSING ARGUMENTS", False),
        ("-ERROR", "fine", True),
        ("-ERROR", "ERROR", False),
        ('ERROR -"MISSING ARGUMENTS"', "ERROR MISSING ARGUMENTS", False),
        ('?"a b" ?c', "x a b", True),
        ("ERROR ?ARGUMENTS", "ERROR alone: ? terms beside others are ignored", True),
        ('"say \\"hi\\""', 'they say "hi" now', True),
        ("REPORT RequestId:", "REPORT RequestId: 1-2", True),
        ("%[Ee]rror|[Ff]ail%", "it fails with Fail", True),
        ("%^ERROR%", "an ERROR", False),
        (r"%\d{3}%", "code 404", True),
        (r"ERROR %\d{3}%", "ERROR 40", False),
        ("-%[0-9]%", "no digits", True),
    ],
)
def test_text_patterns(pattern: str, message: str, matches: bool) -> None:
    assert compile_pattern(pattern)(message) is matches


EVENT = (
    '{"eventType": "UpdateTrail", "sourceIPAddress": "111.111.111.111", "arrayKey": ["value", "another value"], '
    '"objectList": [{"name": "a", "id": 1}, {"name": "b", "id": 2}], "SomeObject": null, "ThisFlag": true, '
    '"n": 1.5, "status": 404, "odd key": "x"}'
)


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ('{ $.eventType = "UpdateTrail" }', True),
        ("{$.eventType=UpdateTrail}", True),
        ('{ $.eventType != "UpdateTrail" }', False),
        ("{ $.sourceIPAddress != 123.123.* }", True),
        ('{ $.sourceIPAddress = "111.111.*" }', True),
        ('{ $.arrayKey[0] = "value" }', True),
        ('{ $.arrayKey[5] = "value" }', False),
        ("{ $.objectList[1].id = 2 }", True),
        ("{ $.objectList[*].id = 2 }", True),
        ('{ $.objectList[*].name = "z" }', False),
        ("{ $.SomeObject IS NULL }", True),
        ("{ $.SomeOtherObject NOT EXISTS }", True),
        ("{ $.eventType NOT EXISTS }", False),
        ("{ $.ThisFlag IS TRUE }", True),
        ("{ $.ThisFlag IS FALSE }", False),
        ("{ $.n > 1 }", True),
        ("{ $.n >= 1.5 && $.n < 1.6e0 }", True),
        ("{ $.n = 15e-1 }", True),
        ("{ $.status = 4* }", True),
        ("{ $.status = 404 || $.status = 500 }", True),
        ("{ $.status = 500 || $.n = 2 && $.status = 404 }", False),
        ("{ ($.status = 404 || $.n = 2) && $.ThisFlag IS TRUE }", True),
        ("{ $.eventType = %Up.*il% }", True),
        ("{ $.missing != 5 }", False),
        ('{ $["odd key"] = "x" }', True),
        ('{ $.eventType = "a && b" }', False),
    ],
)
def test_json_patterns(pattern: str, matches: bool) -> None:
    assert compile_pattern(pattern)(EVENT) is matches


@pytest.mark.parametrize("message", ["plain text", "", '"a string"', "17", "{", "[" * 100_000])
def test_messages_that_are_no_json_object_match_no_json_pattern(message: str) -> None:
    assert compile_pattern("{ $.a NOT EXISTS }")(message) is False


@pytest.mark.parametrize(
    "pattern",
    [
        '"unclosed',
        "{ $.a = 1",
        "{ $.a }",
        "{ $.a = }",
        "{ a = 1 }",
        "{ $.a ~ 1 }",
        "{ ($.a = 1 }",
        "{ $.a = 1 $.b = 2 }",
        "{ $.a > text }",
        "{ $.a IS MAYBE }",
        "{}",
        "{" + "(" * 500 + "$.a = 1" + ")" * 500 + "}",
        "[ip, user]",
        "%(a+)+%",
        "%a!%",
        "%[%",
        "%a*b*c*d*e*%",
        "x" * 1025,
    ],
)
def test_patterns_with_a_mistake_are_refused(pattern: str) -> None:
    with pytest.raises(InvalidPattern):
        compile_pattern(pattern)


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_pattern_is_either_refused_or_decides(pattern: str, message: str) -> None:
    try:
        matches = compile_pattern(pattern)
    except InvalidPattern:
        return
    assert matches(message) in (True, False)
