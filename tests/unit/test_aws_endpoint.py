"""A request's way through the endpoint: who answers, in which form, with which code."""

import json
import logging

import pytest

from aws_fixtures import ACCOUNT, KEY, REGION, Rig, header
from lambent.aws.contract import AwsError, Service
from lambent.aws.endpoint import Endpoint
from lambent.aws.operations import NoSuchOperation
from lambent.clock import FixedClock
from lambent.errors import NotReady
from lambent.httpd.messages import Request
from lambent.ids import Ids

SERVICES = {
    "lambda": ["Invoke", "GetFunction", "ListFunctions", "DeleteFunction", "CreateFunction", "TagResource"],
    "sts": ["GetCallerIdentity"],
    "iam": ["CreateRole"],
    "logs": ["CreateLogGroup", "DescribeLogGroups"],
}
INVOKE = "/2015-03-31/functions/hello/invocations"
FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}


def logs_header(operation: str) -> dict[str, str]:
    return {"x-amz-target": f"Logs_20140328.{operation}", "content-type": "application/x-amz-json-1.1"}


def test_an_invocation_passes_its_payload_through_untouched():
    rig = Rig(SERVICES)
    rig.answers["Invoke"] = {"StatusCode": 200, "ExecutedVersion": "$LATEST", "Payload": b'{"a" : 1}'}
    response = rig.call("POST", INVOKE, "lambda", body=b'{ "not" : "reformatted"}')
    assert (response.status, response.body) == (200, b'{"a" : 1}')
    assert header(response, "X-Amz-Executed-Version") == "$LATEST"
    assert header(response, "Content-Type") == "application/json"
    call = rig.calls[0]
    assert call.params == {"FunctionName": "hello", "Payload": b'{ "not" : "reformatted"}'}
    assert (call.account, call.region, call.request_id) == (ACCOUNT, REGION, header(response, "x-amzn-RequestId"))


@pytest.mark.parametrize(("status", "body"), [(202, b""), (204, b"")])
def test_the_status_is_what_the_operation_says(status, body):
    rig = Rig(SERVICES)
    rig.answers["Invoke"] = {"StatusCode": status, "Payload": b"ignored" if status == 204 else None}
    response = rig.call("POST", INVOKE, "lambda", headers={"x-amz-invocation-type": "Event"})
    assert (response.status, response.body) == (status, body)


def test_a_function_can_be_named_by_its_encoded_arn():
    rig = Rig(SERVICES)
    arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:hello:live"
    rig.call("POST", f"/2015-03-31/functions/{arn.replace(':', '%3A')}/invocations", "lambda", query="Qualifier=1")
    rig.call("POST", f"/2015-03-31/functions/{arn}/invocations/", "lambda")
    assert [call.params["FunctionName"] for call in rig.calls] == [arn, arn]
    assert rig.calls[0].params["Qualifier"] == "1"


def test_a_query_service_answers_in_xml():
    rig = Rig(SERVICES)
    rig.answers["GetCallerIdentity"] = {"Account": ACCOUNT, "Arn": "a&b", "UserId": None}
    response = rig.call("POST", "/", "sts", headers=FORM, body=b"Action=GetCallerIdentity&Version=2011-06-15")
    assert response.status == 200
    assert b"<GetCallerIdentityResult><Account>123456789012</Account><Arn>a&amp;b</Arn></Get" in response.body
    assert f"<RequestId>{header(response, 'x-amzn-RequestId')}</RequestId>".encode() in response.body


def test_a_query_request_may_be_a_get():
    rig = Rig(SERVICES)
    assert rig.call("GET", "/", "sts", query="Action=GetCallerIdentity&Version=2011-06-15").status == 200


def test_health_needs_no_signature():
    response = Rig(SERVICES).send(Request("GET", "/_lambent/health", "", {}))
    assert (response.status, json.loads(response.body)) == (200, {"status": "ok"})


def code_of(response) -> tuple[int, str]:
    if header(response, "x-amzn-ErrorType"):
        return response.status, header(response, "x-amzn-ErrorType")
    if response.body.startswith(b"<?xml"):
        return response.status, response.body.decode().partition("<Code>")[2].partition("</Code>")[0]
    return response.status, json.loads(response.body)["__type"]


@pytest.mark.parametrize(
    ("service", "path", "headers", "body", "refusals"),
    [
        (
            "lambda",
            INVOKE,
            {},
            b"",
            {
                "unsigned": (403, "MissingAuthenticationTokenException"),
                "key": (403, "UnrecognizedClientException"),
                "secret": (403, "InvalidSignatureException"),
                "region": (403, "InvalidSignatureException"),
                "late": (403, "InvalidSignatureException"),
            },
        ),
        (
            "logs",
            "/",
            logs_header("DescribeLogGroups"),
            b"{}",
            {
                "unsigned": (400, "MissingAuthenticationTokenException"),
                "key": (400, "UnrecognizedClientException"),
                "secret": (400, "InvalidSignatureException"),
                "region": (400, "InvalidSignatureException"),
                "late": (400, "InvalidSignatureException"),
            },
        ),
        (
            "sts",
            "/",
            FORM,
            b"Action=GetCallerIdentity&Version=2011-06-15",
            {
                "unsigned": (403, "MissingAuthenticationToken"),
                "key": (403, "InvalidClientTokenId"),
                "secret": (403, "SignatureDoesNotMatch"),
                "region": (403, "SignatureDoesNotMatch"),
                "late": (403, "SignatureDoesNotMatch"),
            },
        ),
    ],
)
def test_a_refused_signature_has_the_code_of_the_services_protocol(service, path, headers, body, refusals):
    rig = Rig(SERVICES)
    requests = {
        "unsigned": Request("POST", path, "", {"host": "h", **headers}, body),
        "key": rig.signed("POST", path, service, headers=headers, body=body, access_key_id="AKIAOTHER"),
        "secret": rig.signed("POST", path, service, headers=headers, body=body, secret_access_key="other"),
        "region": rig.signed("POST", path, service, headers=headers, body=body, region="eu-west-1"),
    }
    answers = {name: code_of(rig.send(request)) for name, request in requests.items()}
    late = rig.signed("POST", path, service, headers=headers, body=body)
    rig.clock.advance(3600)
    answers["late"] = code_of(rig.send(late))
    assert answers == refusals
    assert rig.calls == []


def test_global_services_may_be_signed_for_us_east_1_wherever_the_installation_is():
    rig = Rig(SERVICES)
    rig.endpoint._region = "eu-central-1"
    body = b"Action=GetCallerIdentity&Version=2011-06-15"
    assert rig.call("POST", "/", "sts", headers=FORM, body=body).status == 200
    assert code_of(rig.call("POST", INVOKE, "lambda")) == (403, "InvalidSignatureException")


def test_an_open_installation_takes_any_key_region_and_no_signature():
    rig = Rig(SERVICES, open=True, any_region=True)
    assert rig.call("POST", INVOKE, "lambda", access_key_id="test", region="mars-1").status == 200
    assert rig.send(Request("POST", INVOKE, "", {"host": "localhost:4566"}, b"{}")).status == 200
    form = Request("POST", "/", "", FORM, b"Action=GetCallerIdentity&Version=2011-06-15")
    assert rig.send(form).status == 200
    assert rig.send(Request("POST", "/", "", logs_header("DescribeLogGroups"), b"{}")).status == 200
    assert [call.operation for call in rig.calls] == ["Invoke", "Invoke", "GetCallerIdentity", "DescribeLogGroups"]


@pytest.mark.parametrize(
    ("request_", "status", "code", "words"),
    [
        (
            ("GET", "/2015-03-31/functions/a/aliases", "lambda", {}, b""),
            501,
            "NotImplementedException",
            "ListAliases of lambda",
        ),
        (("POST", "/", "iam", FORM, b"Action=CreateUser&UserName=a"), 501, "NotImplemented", "CreateUser of iam"),
        (("POST", "/", "logs", logs_header("StartQuery"), b"{}"), 501, "NotImplementedException", "StartQuery of logs"),
        (
            ("POST", "/", "dynamodb", {"x-amz-target": "DynamoDB_20120810.ListTables"}, b"{}"),
            501,
            "NotImplementedException",
            "DynamoDB_20120810.ListTables of dynamodb",
        ),
        (("POST", "/", "sns", FORM, b"Action=Publish"), 501, "NotImplemented", "Publish of sns"),
        (("GET", "/bucket", "s3", {}, b""), 501, "NotImplemented", "the service s3"),
        (("GET", "/x", "apigateway", {}, b""), 501, "NotImplementedException", "the service apigateway"),
        (("GET", "/nothing", "lambda", {}, b""), 404, "UnknownOperationException", "GET /nothing"),
        (("PUT", INVOKE, "lambda", {}, b""), 404, "UnknownOperationException", "PUT"),
        (("POST", "/", "iam", FORM, b"Action=Nonsense"), 400, "InvalidAction", "Could not find operation Nonsense"),
        (("POST", "/", "iam", FORM, b"no=action"), 400, "InvalidAction", "POST /"),
        (
            ("POST", "/", "logs", logs_header("Nonsense"), b"{}"),
            404,
            "UnknownOperationException",
            "Logs_20140328.Nonsense",
        ),
        (
            ("POST", "/", "logs", {"smithy-protocol": "rpc-v2-cbor"}, b"\xbf"),
            415,
            "UnsupportedProtocolException",
            "cbor",
        ),
        (("GET", "/2015-03-31/functions/%FF", "lambda", {}, b""), 400, "SerializationException", "UTF-8"),
        (("POST", "/", "logs", logs_header("CreateLogGroup"), b"{"), 400, "SerializationException", "not JSON"),
        (("POST", "/", "logs", logs_header("CreateLogGroup"), b"[]"), 400, "SerializationException", "list"),
        (
            ("POST", "/", "logs", logs_header("CreateLogGroup"), b'{"logGroupName": 1}'),
            400,
            "SerializationException",
            "NUMBER_VALUE can not be converted to a String",
        ),
        (("POST", "/", "iam", FORM, b"Action=CreateRole&Tags.member.x=1"), 400, "MalformedInput", "not the number"),
        (("POST", "/2015-03-31/functions", "lambda", {}, b"{}"), 400, "ValidationException", "3 validation errors"),
        (("POST", "/", "logs", logs_header("CreateLogGroup"), b"{}"), 400, "InvalidParameterException", "logGroupName"),
        (("POST", "/", "iam", FORM, b"Action=CreateRole"), 400, "ValidationError", "roleName"),
    ],
)
def test_what_cannot_be_done_is_named(request_, status, code, words):
    method, path, service, headers, body = request_
    rig = Rig(SERVICES)
    response = rig.call(method, path, service, headers=headers, body=body)
    assert code_of(response) == (status, code)
    assert words in response.body.decode().replace("&apos;", "'")
    assert header(response, "x-amzn-RequestId") or header(response, "x-amz-request-id")
    assert rig.calls == []


def test_strangers_do_not_learn_which_operations_there_are():
    rig = Rig(SERVICES)
    for path in (INVOKE, "/nothing", "/2015-03-31/functions/%FF"):
        assert rig.send(Request("GET", path, "", {"host": "h"})).status == 403


def test_an_error_of_the_model_has_the_models_status_and_members():
    rig = Rig(SERVICES)
    rig.answers["Invoke"] = AwsError("ResourceNotFoundException", "Function not found: x")
    response = rig.call("POST", INVOKE, "lambda")
    assert code_of(response) == (404, "ResourceNotFoundException")
    assert json.loads(response.body) == {"Type": "User", "Message": "Function not found: x"}
    rig.answers["Invoke"] = AwsError(
        "TooManyRequestsException", "Rate Exceeded.", Reason="ConcurrentInvocationLimitExceeded", retryAfterSeconds="1"
    )
    response = rig.call("POST", INVOKE, "lambda")
    assert code_of(response) == (429, "TooManyRequestsException")
    assert header(response, "Retry-After") == "1"
    assert json.loads(response.body) == {
        "Type": "User",
        "message": "Rate Exceeded.",
        "Reason": "ConcurrentInvocationLimitExceeded",
    }


def test_an_error_of_a_query_service_has_the_models_code():
    rig = Rig(SERVICES)
    rig.answers["CreateRole"] = AwsError("EntityAlreadyExistsException", "Role with name a already exists.")
    body = b"Action=CreateRole&RoleName=a&AssumeRolePolicyDocument=%7B%7D"
    response = rig.call("POST", "/", "iam", headers=FORM, body=body)
    assert code_of(response) == (409, "EntityAlreadyExists")
    assert b"<Type>Sender</Type>" in response.body


def test_an_error_of_a_json_service_has_its_type_in_the_body():
    rig = Rig(SERVICES)
    rig.answers["CreateLogGroup"] = AwsError("ResourceAlreadyExistsException", "The specified log group already exists")
    response = rig.call("POST", "/", "logs", headers=logs_header("CreateLogGroup"), body=b'{"logGroupName":"a"}')
    assert response.status == 400
    assert json.loads(response.body) == {
        "__type": "ResourceAlreadyExistsException",
        "message": "The specified log group already exists",
    }


@pytest.mark.parametrize(
    ("service", "operation", "request_", "code"),
    [
        ("lambda", "Invoke", ("POST", INVOKE, {}, b""), "ServiceException"),
        ("logs", "DescribeLogGroups", ("POST", "/", logs_header("DescribeLogGroups"), b"{}"), "InternalServerError"),
        ("sts", "GetCallerIdentity", ("POST", "/", FORM, b"Action=GetCallerIdentity"), "InternalFailure"),
    ],
)
@pytest.mark.parametrize("mistake", [RuntimeError("/secret/path"), {"Nonsense": 1}, {"StatusCode": "x"}, None])
def test_a_mistake_of_ours_is_logged_and_not_told(service, operation, request_, code, mistake, caplog):
    rig = Rig(SERVICES)
    rig.answers[operation] = mistake
    method, path, headers, body = request_
    with caplog.at_level(logging.ERROR, "lambent.aws"):
        response = rig.call(method, path, service, headers=headers, body=body)
    assert code_of(response) == (500, code)
    assert b"secret" not in response.body
    assert b"Nonsense" not in response.body
    request_id = header(response, "x-amzn-RequestId")
    assert request_id in caplog.text
    assert "Traceback" in caplog.text


def test_a_header_with_a_line_break_is_not_sent():
    rig = Rig(SERVICES)
    rig.answers["Invoke"] = {"FunctionError": "x\r\nSet-Cookie: a=b", "Payload": b"1"}
    assert rig.call("POST", INVOKE, "lambda").status == 500


def test_what_is_not_ready_can_be_tried_again():
    rig = Rig(SERVICES)
    rig.answers["Invoke"] = NotReady("the bus is away")
    assert code_of(rig.call("POST", INVOKE, "lambda")) == (503, "ServiceUnavailableException")


def test_the_authoriser_can_refuse_before_anything_runs():
    def refuse(service, call):
        raise AwsError(
            "AccessDeniedException", f"{call.identity.access_key_id} may not {service}:{call.operation}", 403
        )

    rig = Rig(SERVICES, authorise=refuse)
    response = rig.call("POST", INVOKE, "lambda")
    assert code_of(response) == (403, "AccessDeniedException")
    assert json.loads(response.body) == {"message": f"{KEY} may not lambda:Invoke"}
    assert rig.calls == []


def test_a_service_cannot_offer_what_its_model_does_not_have():
    async def run(call):
        return {}

    for operation in ("Nonsense", "InvokeWithResponseStream"):
        with pytest.raises(NoSuchOperation, match=operation):
            Endpoint([Service("lambda", {operation: run})], Rig({}).keys, region=REGION, ids=Ids(), clock=FixedClock())


MODEL = {
    "metadata": {
        "apiVersion": "2026-01-01",
        "endpointPrefix": "lambent",
        "protocol": "rest-json",
        "signingName": "lambent",
        "serviceId": "lambent",
    },
    "operations": {
        "PutBinding": {
            "name": "PutBinding",
            "http": {"method": "PUT", "requestUri": "/_lambent/v1/bindings/{name}", "responseCode": 201},
            "input": {"shape": "PutBindingRequest"},
            "output": {"shape": "Binding"},
        }
    },
    "shapes": {
        "PutBindingRequest": {
            "type": "structure",
            "required": ["name", "path"],
            "members": {
                "name": {"shape": "Name", "location": "uri", "locationName": "name"},
                "path": {"shape": "Name"},
            },
        },
        "Binding": {"type": "structure", "members": {"name": {"shape": "Name"}}},
        "Name": {"type": "string", "max": 5, "documentation": "<p>short</p>"},
    },
}


def test_a_service_of_our_own_is_served_from_an_extra_model(tmp_path):
    folder = tmp_path / "lambent" / "2026-01-01"
    folder.mkdir(parents=True)
    (folder / "service-2.json").write_text(json.dumps(MODEL))
    rig = Rig({**SERVICES, "lambent": ["PutBinding"]}, extra_models=[tmp_path])
    rig.answers["PutBinding"] = {"name": "a"}
    response = rig.call("PUT", "/_lambent/v1/bindings/a", "lambent", body=b'{"path":"/a"}')
    assert (response.status, response.body) == (201, b'{"name":"a"}')
    assert rig.calls[0].params == {"name": "a", "path": "/a"}
    response = rig.call("PUT", "/_lambent/v1/bindings/a", "lambent", body=b'{"path":"/abcdef"}')
    assert "Member must have length less than or equal to 5" in response.body.decode()
