"""Constraints of the models, refused in AWS's words; and the models' expressions, which are Java's."""

import json

import pytest

from lambent.aws.checks import FOUND_MAX, Checks, validation_message
from lambent.aws.models import Models, ServiceModel, parse_model
from lambent.aws.patterns import UnusablePattern, matcher

MODELS = Models()


def problems(service: str, operation: str, params: dict) -> list[str]:
    shape = MODELS.get(service).operations[operation].input
    found: list[str] = []
    Checks().of(shape)(params, "", found)
    return found


def model(shapes: dict) -> ServiceModel:
    raw = {
        "metadata": {"protocol": "json"},
        "operations": {"Op": {"name": "Op", "input": {"shape": "In"}}},
        "shapes": {**shapes, "Text": {"type": "string"}, "Short": {"type": "string", "max": 2, "min": 1}},
    }
    return ServiceModel("made", parse_model(json.dumps(raw).encode()))


def problems_of(shapes: dict, params: dict) -> list[str]:
    found: list[str] = []
    check = Checks().of(model(shapes).operations["Op"].input)
    if check is not None:
        check(params, "", found)
    return found


CREATE = {"FunctionName": "a", "Role": "arn:aws:iam::123456789012:role/r", "Code": {}}


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, []),
        (
            {"Runtime": "g1.x"},
            ["Value 'g1.x' at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [nodejs, "],
        ),
        (
            {"FunctionName": "test/function"},
            [
                "Value 'test/function' at 'functionName' failed to satisfy constraint: "
                "Member must satisfy regular expression pattern: (arn:(aws[a-zA-Z-]*)?:lambda:)?"
            ],
        ),
        (
            {"FunctionName": "a" * 141},
            ["at 'functionName' failed to satisfy constraint: Member must have length less than or equal to 140"],
        ),
        (
            {"KMSKeyArn": "x"},
            ["Value 'x' at 'kMSKeyArn' failed to satisfy constraint: Member must satisfy regular expression pattern: "],
        ),
        (
            {"MemorySize": 64},
            [
                "Value '64' at 'memorySize' failed to satisfy constraint: Member must have value greater than or equal to 128"
            ],
        ),
        (
            {"Timeout": 0},
            ["Value '0' at 'timeout' failed to satisfy constraint: Member must have value greater than or equal to 1"],
        ),
        (
            {"Layers": [""]},
            [
                "Value '[]' at 'layers' failed to satisfy constraint: Member must satisfy constraint: "
                "[Member must have length less than or equal to 2048, Member must have length greater than or equal to 1, "
                "Member must satisfy regular expression pattern: "
            ],
        ),
        (
            {"Environment": {"Variables": {"1bad": "secret"}}},
            ["Value at 'environment.variables' failed to satisfy constraint: Map keys must satisfy constraint: ["],
        ),
        (
            {"VpcConfig": {"SubnetIds": ["subnet-1"] * 17}},
            ["at 'vpcConfig.subnetIds' failed to satisfy constraint: Member must have length less than or equal to 16"],
        ),
    ],
)
def test_create_function_is_checked_in_awss_words(params, expected):
    found = problems("lambda", "CreateFunction", {**CREATE, **params})
    assert len(found) == len(expected)
    for text, words in zip(found, expected, strict=True):
        assert words in text
        assert "secret" not in text


def test_several_refusals_are_one_message():
    found = problems("lambda", "CreateFunction", {"MemorySize": 1})
    assert validation_message(found).startswith("4 validation errors detected: Value null at 'functionName' failed to")
    assert validation_message(found[:1]) == (
        "1 validation error detected: Value null at 'functionName' failed to satisfy constraint: Member must not be null"
    )


@pytest.mark.parametrize(
    ("shapes", "params", "expected"),
    [
        (
            {
                "In": {"type": "structure", "members": {"Tags": {"shape": "Tags"}}},
                "Tags": {"type": "list", "member": {"shape": "Tag"}},
                "Tag": {"type": "structure", "required": ["Key"], "members": {"Key": {"shape": "Short"}}},
            },
            {"Tags": [{"Key": "ok"}, {"Key": "long"}, {}, None]},
            [
                "Value 'long' at 'tags.2.member.key' failed to satisfy constraint: "
                "Member must have length less than or equal to 2",
                "Value null at 'tags.3.member.key' failed to satisfy constraint: Member must not be null",
                "Value null at 'tags.4.member' failed to satisfy constraint: Member must not be null",
            ],
        ),
        (
            {
                "In": {"type": "structure", "members": {"Map": {"shape": "Map"}}},
                "Map": {"type": "map", "key": {"shape": "Text"}, "value": {"shape": "Short"}},
            },
            {"Map": {"a": "long", "b": "ok"}},
            [
                "Value '{a=long, b=ok}' at 'map' failed to satisfy constraint: Map value must satisfy constraint: "
                "[Member must have length less than or equal to 2, Member must have length greater than or equal to 1, "
                "Member must not be null]"
            ],
        ),
        (
            {
                "In": {"type": "structure", "members": {"Tree": {"shape": "Tree"}}},
                "Tree": {
                    "type": "structure",
                    "members": {"Left": {"shape": "Tree"}, "Name": {"shape": "Short"}},
                },
            },
            {"Tree": {"Left": {"Left": {"Name": "long"}}}},
            [
                "Value 'long' at 'tree.left.left.name' failed to satisfy constraint: "
                "Member must have length less than or equal to 2"
            ],
        ),
        (
            {
                "In": {"type": "structure", "members": {"Data": {"shape": "Blob"}}},
                "Blob": {"type": "blob", "max": 1},
            },
            {"Data": b"xyz"},
            [
                "Value 'java.nio.HeapByteBuffer[pos=0 lim=3 cap=3]' at 'data' failed to satisfy constraint: "
                "Member must have length less than or equal to 1"
            ],
        ),
        ({"In": {"type": "structure", "members": {"Free": {"shape": "Text"}}}}, {"Free": "x" * 10_000}, []),
    ],
)
def test_nested_values_are_named_by_their_path(shapes, params, expected):
    assert problems_of(shapes, params) == expected


def test_an_operation_without_constraints_costs_no_check():
    free = {"In": {"type": "structure", "members": {"Free": {"shape": "Text"}}}}
    assert Checks().of(model(free).operations["Op"].input) is None


def test_answers_stay_short_however_much_is_wrong():
    shapes = {
        "In": {"type": "structure", "members": {"Tags": {"shape": "Tags"}}},
        "Tags": {"type": "list", "member": {"shape": "Tag"}},
        "Tag": {"type": "structure", "members": {"Key": {"shape": "Short"}}},
    }
    found = problems_of(shapes, {"Tags": [{"Key": "x" * 100_000}] * 1000})
    assert len(found) == FOUND_MAX
    assert max(map(len, found)) < 1300


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("[a-z]+", "abc", True),
        ("[a-z]+", "abc\n", False),
        ("^[a-z]+$", "abc\n", False),
        ("a", "ba", False),
        (r"[\w+=,.@-]+", "ünï", False),
        (r"[\p{L}\p{Z}\p{N}_.:/=+\-@]*", "ünï 日本_1", True),
        (r"[\p{L}\p{Z}\p{N}_.:/=+\-@]*", "ünï!", False),
        (r"\p{Lu}\p{Ll}*", "Über", True),
        (r"\p{Lu}\p{Ll}*", "über", False),
        (r"\P{C}+", "a b", True),
        (r"\P{C}+", "a\x07b", False),
        (r"[\w-_:]*", "a-b_c:", True),
        (r"\p{Alpha}\p{Digit}", "a1", True),
        ("[\\u0020-\\uD7FF\\uE000-\\uFFFD\\uD800\\uDC00-\\uDBFF\\uDFFF\\r\\n\\t]*", "text 😹\n", True),
        ("[\\u0020-\\uD7FF\\uE000-\\uFFFD\\uD800\\uDC00-\\uDBFF\\uDFFF\\r\\n\\t]*", "\x00", False),
        (r"[\u0009\u000A\u000D\u0020-\u00FF]+", '{"Version":"2012-10-17"}\n', True),
        (r"(\$LATEST|[a-zA-Z0-9-_]+)", "$LATEST", True),
    ],
)
def test_javas_expressions_mean_here_what_they_mean_there(pattern, text, expected):
    assert matcher(pattern)(text) is expected


@pytest.mark.parametrize("service", ["lambda", "logs", "sts", "iam", "s3", "sqs", "sns", "dynamodb", "cloudformation"])
def test_every_expression_of_the_models_can_be_used(service):
    unusable = []
    for name, shape in MODELS.get(service).shapes.items():
        if shape.pattern is not None:
            try:
                matcher(shape.pattern)("any text")
            except UnusablePattern as error:
                unusable.append((name, str(error)))
    assert unusable == []
