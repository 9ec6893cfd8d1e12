"""Every operation of the services used, and services that show the protocols' corners, against botocore's client side."""

import io
from functools import cache

import botocore.session
import pytest
from botocore.awsrequest import HeadersDict, create_request_object, prepare_request_dict
from botocore.model import OperationModel as ClientOperation
from botocore.model import Shape
from botocore.parsers import create_parser
from botocore.serialize import create_serializer

from aws_fixtures import Values
from lambent.aws.models import Models
from lambent.aws.operations import Offer
from lambent.aws.recognise import Recogniser
from lambent.httpd.messages import Request, Response

SESSION = botocore.session.get_session()
MODELS = Models()

#: (service, protocol): the services of this installation and, for the protocols' corners, some of AWS's others.
SPOKEN = [
    ("lambda", "rest-json"),
    ("logs", "json"),
    ("sts", "query"),
    ("iam", "query"),
    ("sns", "query"),
    ("sqs", "json"),
    ("cloudwatch", "json"),
    ("cloudwatch", "query"),
    ("cloudformation", "query"),
    ("dynamodb", "json"),
    ("apigateway", "rest-json"),
    ("apigatewayv2", "rest-json"),
    ("s3", "rest-xml"),
    ("route53", "rest-xml"),
]

#: Rounds of values for each operation.
ROUNDS = 4


def operations(direction: str) -> list[tuple[str, str, str]]:
    found = []
    for service, protocol in SPOKEN:
        model = SESSION.get_service_model(service)
        for name in model.operation_names:
            operation = model.operation_model(name)
            streams = operation.has_event_stream_input or operation.has_event_stream_output
            if not streams and (service, name) not in SKIPPED[direction]:
                found.append((service, protocol, name))
    return found


#: Left out, with the reason.
SKIPPED: dict[str, dict[tuple[str, str], str]] = {
    "input": {
        ("s3", "GetBucketLifecycle"): "its request is that of GetBucketLifecycleConfiguration, which replaced it",
        ("s3", "PutBucketLifecycle"): "its request is that of PutBucketLifecycleConfiguration, which replaced it",
        ("s3", "GetBucketNotification"): "its request is that of GetBucketNotificationConfiguration, which replaced it",
        ("s3", "PutBucketNotification"): "its request is that of PutBucketNotificationConfiguration, which replaced it",
        ("s3", "ListDirectoryBuckets"): "its request is that of ListBuckets, sent to another host",
    },
    "output": {
        ("s3", "GetBucketLocation"): "its answer is the root element's text, which botocore's own hook reads",
        ("s3", "GetBucketNotification"): "botocore reads the two flattened lists of one name in it as elements",
    },
}


def made(shape: Shape | None, service: str, protocol: str, seed: str) -> dict:
    if shape is None:
        return {}
    members = Values(f"{service} {protocol} {seed}", empty=protocol != "query").of(shape)
    if service == "s3":
        members.pop("Expires", None)  # botocore makes a timestamp of what the model has as a text
    return members


def sent_by_botocore(operation: ClientOperation, protocol: str, params: dict) -> Request:
    serialised = create_serializer(protocol, include_validation=False).serialize_to_request(params, operation)
    serialised.pop("host_prefix", None)
    prepare_request_dict(serialised, endpoint_url="http://127.0.0.1:4566", user_agent="test", context={})
    prepared = create_request_object(serialised).prepare()
    path, _, query = prepared.url.removeprefix("http://127.0.0.1:4566").partition("?")
    body = prepared.body or b""
    if hasattr(body, "read"):
        body = body.read()
    if isinstance(body, str):
        body = body.encode()
    headers = {
        key.lower(): value.decode("latin-1") if isinstance(value, bytes) else str(value)
        for key, value in prepared.headers.items()
    }
    return Request(prepared.method, path, query, {"host": "127.0.0.1:4566", **headers}, bytes(body))


@cache
def offer(service: str) -> Offer:
    return Offer(MODELS.get(service), {})


@pytest.mark.parametrize(("service", "protocol", "name"), operations("input"))
def test_parameters_that_botocore_sends_are_the_parameters_that_arrive(service, protocol, name):
    client = SESSION.get_service_model(service).operation_model(name)
    here = offer(service)
    for round_ in range(ROUNDS):
        params = made(client.input_shape, service, protocol, f"{name} {round_}")
        request = sent_by_botocore(client, protocol, params)
        target = Recogniser([here]).recognise(request)
        assert target.fault is None, target.fault
        assert (target.protocol, target.operation.name) == (protocol, name)
        parsed = here.protocol(protocol).parser(target.operation)(request, target.labels)
        if "ContentLength" in parsed and "ContentLength" not in params:
            del parsed["ContentLength"]  # HTTP has the header whether the parameter was given or not
        for key, member in client.input_shape.members.items() if client.input_shape else ():
            if member.serialization.get("location") == "querystring" and member.type_name == "map" and key in parsed:
                # The map has every parameter of the query string, also those that are members of their own.
                kept = {entry: value for entry, value in parsed.pop(key).items() if entry in params.get(key, {})}
                parsed.update({key: kept} if key in params else {})
        assert parsed == as_arrived(params, client, protocol)


def as_arrived(params: dict, client: ClientOperation, protocol: str) -> dict:
    """What a request cannot tell: an empty payload from none."""
    payload = client.input_shape.serialization.get("payload") if client.input_shape else None
    if payload and payload not in params and protocol == "rest-json":
        member = client.input_shape.members[payload]
        if member.type_name == "structure":
            return {**params, payload: {}}
    return params


@pytest.mark.parametrize(("service", "protocol", "name"), operations("output"))
def test_outputs_that_are_sent_are_the_outputs_that_botocore_reads(service, protocol, name):
    client = SESSION.get_service_model(service).operation_model(name)
    here = offer(service)
    operation = MODELS.get(service).operations[name]
    serialise = here.protocol(protocol).serialiser(operation)
    for round_ in range(ROUNDS):
        output = made(client.output_shape, service, protocol, f"{name} {round_}")
        response = serialise(output, "request-1")
        answer = {
            "status_code": response.status,
            "headers": HeadersDict(response.headers),
            "body": io.BytesIO(response.body) if client.has_streaming_output else response.body,
            "context": {"operation_name": name},
        }
        parsed = create_parser(protocol).parse(answer, client.output_shape)
        metadata = parsed.pop("ResponseMetadata")
        parsed = {name: value.read() if isinstance(value, io.BytesIO) else value for name, value in parsed.items()}
        assert metadata["RequestId"] == "request-1"
        assert parsed == as_read(output, client, response)


def as_read(output: dict, client: ClientOperation, response: Response) -> dict:
    """What botocore adds: the status where a member asks for it, an empty payload and empty headers for none."""
    expected = dict(output)
    for name, member in client.output_shape.members.items() if client.output_shape else ():
        if member.serialization.get("location") == "statusCode":
            expected[name] = response.status
        if member.serialization.get("location") == "headers":
            expected.setdefault(name, {})
    payload = client.output_shape.serialization.get("payload") if client.output_shape else None
    if payload and payload not in expected:
        expected[payload] = {"structure": {}, "string": "", "blob": b""}[client.output_shape.members[payload].type_name]
    return expected
