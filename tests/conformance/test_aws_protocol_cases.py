"""AWS's published protocol cases, run in reverse: the request that a client sends must give the case's parameters, the case's result
must give the response that a client reads. The cases are botocore's; see protocols/NOTICE.
"""

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import HeadersDict
from botocore.model import OperationModel as ClientOperation
from botocore.model import ServiceModel as ClientModel
from botocore.model import Shape as ClientShape
from botocore.parsers import create_parser

from lambent.aws.contract import AwsError
from lambent.aws.models import OperationModel, ServiceModel, Shape, parse_model
from lambent.aws.operations import Offer
from lambent.aws.recognise import Recogniser
from lambent.httpd.messages import Request

FOLDER = Path(__file__).parent / "protocols"

#: Cases that a server cannot run in reverse, by reason.
IGNORED_INPUT = {
    "the request does not say whether the parameter was left out, null or empty": [
        "AwsJson11StructuresDontSerializeNullValues",
        "QueryEmptyQueryMaps",
        "RestJsonDoesntSerializeNullStructureValues",
        "RestJsonHttpPrefixHeadersAreNotPresent",
        "RestJsonHttpWithEmptyStructurePayload",
        "RestJsonHttpWithHeadersButNoPayload",
        "RestJsonNullAndEmptyHeaders",
        "RestJsonOmitsEmptyListQueryValues",
        "RestJsonOmitsNullQuery",
        "HttpPrefixHeadersAreNotPresent",
        "NullAndEmptyHeaders",
        "RestXmlOmitsNullQuery",
    ],
    "the client makes the token up": [
        "QueryProtocolIdempotencyTokenAutoFill",
        "RestJsonQueryIdempotencyTokenAutoFill",
        "QueryIdempotencyTokenAutoFill",
    ],
    "the client adds a path that a proxy in front of the service takes off again": ["RestJsonHostWithPath"],
    "a case of compressed bodies whose body is not in the case": [
        "SDKAppliedContentEncoding_awsJson1_0",
        "SDKAppliedContentEncoding_awsJson1_1",
        "SDKAppliedContentEncoding_awsQuery",
        "SDKAppliedContentEncoding_restJson1",
        "SDKAppliedContentEncoding_restXml",
        "SDKAppendsGzipAndIgnoresHttpProvidedEncoding_awsJson1_0",
        "SDKAppendsGzipAndIgnoresHttpProvidedEncoding_awsJson1_1",
        "SDKAppendsGzipAndIgnoresHttpProvidedEncoding_awsQuery",
        "SDKAppendedGzipAfterProvidedEncoding_restJson1",
        "SDKAppendedGzipAfterProvidedEncoding_restXml",
    ],
    "the case's parameter is the text of a JSON header, which arrives here as its value": [
        "MediaTypeHeaderInputBase64"
    ],
    "a server puts every query parameter into the map, those that are members of their own too": [
        "RestJsonQueryParamsStringListMap",
        "RestJsonQueryPrecedence",
        "AllQueryStringTypes",
        "RestXmlQueryParamsStringListMap",
        "RestXmlQueryPrecedence",
        "RestXmlQueryStringEscaping",
        "RestXmlSupportsInfinityFloatQueryValues",
        "RestXmlSupportsNaNFloatQueryValues",
        "RestXmlSupportsNegativeInfinityFloatQueryValues",
        "RestXmlZeroAndFalseQueryValues",
    ],
}
IGNORED_OUTPUT = {
    "botocore reads flattened lists of two names and errors without a message otherwise (its own list of ignored cases has them)": [
        "QueryXmlLists",
        "XmlLists",
        "QueryComplexError",
        "ComplexError",
    ],
    "botocore looks for a structure under the name that it has as a root (its own list of ignored cases has it)": [
        "BodyWithXmlName"
    ],
    "the response would have no header but those of the case, and every response has a request id": [
        "HttpPrefixHeadersResponse"
    ],
    "botocore reads an absent payload as an empty one": [
        "RestJsonHttpPayloadTraitsWithNoBlobBody",
        "HttpPayloadTraitsWithNoBlobBody",
        "RestJsonHttpPayloadWithUnsetUnion",
        "RestXmlHttpPayloadWithUnsetUnion",
    ],
    "botocore splits lists of dates and of quoted texts at every comma (its own list of ignored cases has them)": [
        "RestJsonInputAndOutputWithQuotedStringHeaders",
        "RestJsonInputAndOutputWithTimestampHeaders",
        "InputAndOutputWithTimestampHeaders",
    ],
}


def cases(direction: str) -> list[Any]:
    reasons = IGNORED_INPUT if direction == "input" else IGNORED_OUTPUT
    ignored = {case for names in reasons.values() for case in names}
    found = []
    for file in sorted((FOLDER / direction).glob("*.json")):
        for suite in json.loads(file.read_text()):
            found += [
                pytest.param(suite, case, id=f"{file.stem}-{case['id']}-{index}")
                for index, case in enumerate(suite["cases"])
                if case["id"] not in ignored
            ]
    return found


def service(suite: dict, case: dict) -> tuple[Offer, OperationModel, str]:
    given = case["given"]
    name = given.get("name", "OperationName")
    metadata = {"endpointPrefix": "case", **suite["metadata"]}
    raw = {"metadata": metadata, "operations": {name: {**given, "name": name}}, "shapes": suite["shapes"]}
    model = ServiceModel("case", parse_model(json.dumps(raw).encode()))
    return Offer(model, {}), model.operations[name], metadata["protocol"]


def plain(value: Any) -> Any:
    """Values as the cases write them: bytes as text, times as Unix seconds, special floats as text."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


@pytest.mark.parametrize(("suite", "case"), cases("input"))
def test_the_request_of_a_case_gives_its_parameters(suite, case):
    offer, given, protocol = service(suite, case)
    sent = case["serialized"]
    path, _, query = sent["uri"].partition("?")
    headers = {name.lower(): value for name, value in sent.get("headers", {}).items()}
    if protocol == "query":
        headers.setdefault("content-type", "application/x-www-form-urlencoded")
    if protocol == "json":
        headers.setdefault("x-amz-target", f"{offer.model.target_prefix}.{given.name}")
    request = Request(
        sent.get("method", "POST"), path, query, {"host": "case.example.com", **headers}, sent.get("body", "").encode()
    )
    target = Recogniser([offer]).recognise(request)
    assert target.fault is None, target.fault
    parsed = offer.protocol(protocol).parser(target.operation)(request, target.labels)
    assert plain(parsed) == plain(case["params"])


def output_of(shape: Shape | None, value: Any) -> Any:
    """A case's result as an operation would return it."""
    if shape is None or value is None:
        return value
    match shape.type:
        case "structure" if not shape.document:
            return {name: output_of(shape.members[name], item) for name, item in value.items()}
        case "list":
            return [output_of(shape.member, item) for item in value]
        case "map":
            return {name: output_of(shape.value, item) for name, item in value.items()}
        case "blob":
            return value.encode()
        case "timestamp":
            return datetime.fromtimestamp(value, UTC)
        case "float" | "double" if isinstance(value, str):
            return float(value)
    return value


@pytest.mark.parametrize(("suite", "case"), cases("output"))
def test_the_result_of_a_case_gives_its_response(suite, case):
    offer, operation, protocol = service(suite, case)
    wire = offer.protocol(protocol)
    expected = case["response"]
    if "error" in case:
        error = offer.model.errors.get(case["errorCode"])
        members = output_of(error.shape if error else None, case["error"])
        members.pop("message", None)  # it is the error's text already
        response = wire.error(
            offer.model,
            AwsError(case["errorCode"], case.get("errorMessage", ""), expected["status_code"], **members),
            "foo-id",
        )
    else:
        response = wire.serialiser(operation)(output_of(operation.output, case["result"]), "foo-id")
    assert response.status == expected["status_code"]
    client = ClientModel({**suite, "operations": {operation.name: case["given"]}})
    answer = {
        "status_code": response.status,
        "headers": HeadersDict(response.headers),
        "body": response.body,
        "context": {},
    }
    parser = create_parser(protocol)
    if "error" in case:
        parsed = parser.parse(answer, None)
        assert parsed["Error"]["Code"] == case["errorCode"]
        assert parsed["Error"]["Message"] == case.get("errorMessage", "")
        if case["errorCode"] in suite["shapes"]:
            shape = client.shape_for(case["errorCode"])
            assert {**parser.parse(answer, shape), **expected_message(shape, case)} == {
                **case["error"],
                **expected_message(shape, case),
            }
        return
    output_shape = ClientOperation(case["given"], client).output_shape
    if protocol == "query" and output_shape:
        output_shape.serialization["resultWrapper"] = f"{operation.name}Result"
    parsed = parser.parse(answer, output_shape)
    parsed.pop("ResponseMetadata", None)
    assert plain(parsed) == plain(case["result"])


def expected_message(shape: ClientShape, case: dict) -> dict:
    """The message reaches the client in its own member whether the case repeats it among the error's members or not."""
    return {name: case.get("errorMessage", "") for name in ("message", "Message") if name in shape.members}
