"""The Lambda API as boto3 sees it: members, headers, statuses, errors. State in memory, calls scripted."""

import base64
import io
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from functions_fixtures import hello_zip
from lambent.invocation import Outcome, OutcomeKind
from services_api_fixtures import Api, running_api
from services_fixtures import ROLE


def create(api: Api, name: str = "hello", **changes: Any) -> Any:
    params = {
        "FunctionName": name,
        "Runtime": "python3.12",
        "Handler": "app.handler",
        "Role": ROLE,
        "Code": {"ZipFile": hello_zip()},
        **changes,
    }
    return api.client("lambda").create_function(**params)


def read(answer: Any) -> Any:
    """An answer whose payload was read to its end: an unread one keeps its connection open."""
    answer["Payload"] = answer["Payload"].read()
    return answer


def refusal(call: Any, **params: Any) -> tuple[str, int, str]:
    with pytest.raises(ClientError) as caught:
        call(**params)
    answer = caught.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Message"]


def test_deploy_wait_invoke_and_remove(tmp_path: Path) -> None:
    with running_api(tmp_path) as api:
        client = api.client("lambda")
        made = create(api, Tags={"team": "a"}, Environment={"Variables": {"KEY": "värde"}})
        assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
        assert made["State"] == "Active"
        client.get_waiter("function_active_v2").wait(FunctionName="hello")
        client.get_waiter("function_updated_v2").wait(FunctionName="hello")
        answer = client.invoke(FunctionName="hello", Payload=b'{"a": 1}', LogType="Tail")
        assert answer["Payload"].read() == b'"hello"'
        assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
        assert base64.b64decode(answer["LogResult"]) == b"REPORT\n"
        assert "FunctionError" not in answer
        assert api.calls.ran[0][1].payload == b'{"a": 1}'
        request_id = answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-requestid"]
        assert api.calls.ran[0][1].request_id == request_id
        event = client.invoke(FunctionName="hello", InvocationType="Event", Payload=b"{}")
        assert (event["StatusCode"], event["Payload"].read()) == (202, b"")
        assert read(client.invoke(FunctionName="hello", InvocationType="DryRun"))["StatusCode"] == 204
        assert client.delete_function(FunctionName="hello")["ResponseMetadata"]["HTTPStatusCode"] == 204
        assert refusal(client.get_function, FunctionName="hello")[:2] == ("ResourceNotFoundException", 404)


def test_the_code_location_downloads_the_zip(tmp_path: Path) -> None:
    with running_api(tmp_path) as api:
        create(api)
        found = api.client("lambda").get_function(FunctionName="hello")
        assert found["Code"]["Location"].startswith(api.url)
        assert "Tags" not in found
        with urllib.request.urlopen(found["Code"]["Location"]) as answer:
            assert zipfile.ZipFile(io.BytesIO(answer.read())).namelist() == ["app.py"]
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(found["Code"]["Location"].replace("signature=", "signature=0"))
        assert caught.value.code == 403
        caught.value.close()


def test_a_function_error_and_refused_calls_look_as_on_aws(tmp_path: Path) -> None:
    with running_api(tmp_path) as api:
        create(api)
        invoke = api.client("lambda").invoke
        api.calls.outcome = Outcome(OutcomeKind.FUNCTION_ERROR, payload=b'{"errorMessage":"x"}')
        answer = read(invoke(FunctionName="hello"))
        assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
        api.calls.outcome = Outcome(
            OutcomeKind.THROTTLED, message="Rate Exceeded.", reason="ConcurrentInvocationLimitExceeded"
        )
        with pytest.raises(ClientError) as caught:
            invoke(FunctionName="hello")
        assert caught.value.response["Error"] == {"Code": "TooManyRequestsException", "Message": "Rate Exceeded."}
        assert caught.value.response["Reason"] == "ConcurrentInvocationLimitExceeded"
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429
        code, status, message = refusal(invoke, FunctionName="hello", InvocationType="Event", Payload=b"{x")
        assert (code, status) == ("InvalidRequestContentException", 400)
        assert message.startswith("Could not parse request body into json: Could not parse payload into json: ")


def test_payloads_over_the_limits_are_413(tmp_path: Path) -> None:
    with running_api(tmp_path) as api:
        create(api)
        invoke = api.client("lambda").invoke
        largest = b'"' + b"x" * (6 * 1024 * 1024 - 2) + b'"'
        assert read(invoke(FunctionName="hello", Payload=largest))["StatusCode"] == 200
        assert len(api.calls.ran[0][1].payload) == 6291456
        assert refusal(invoke, FunctionName="hello", Payload=largest + b" ") == (
            "RequestTooLargeException",
            413,
            "6291457 byte payload is too large for the RequestResponse invocation type (limit 6291456 bytes)",
        )


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        ({"Role": "nonsense"}, "ValidationException", "Value 'nonsense' at 'role' failed to satisfy constraint"),
        ({"Runtime": "cobol1"}, "ValidationException", "Value 'cobol1' at 'runtime' failed to satisfy constraint"),
        ({"Environment": {"Variables": {"1bad": "x"}}}, "ValidationException", "environment"),
        ({"MemorySize": 40_000}, "ValidationException", "at 'memorySize'"),
        ({"Handler": "a" * 129}, "ValidationException", "at 'handler'"),
        ({"Code": {"ZipFile": b"x"}}, "InvalidParameterValueException", "Could not unzip uploaded file."),
        ({"Runtime": "java21"}, "InvalidParameterValueException", "install a JDK"),
    ],
)
def test_parameters_are_refused_by_the_model_or_the_service(
    tmp_path: Path, changes: dict[str, Any], code: str, text: str
) -> None:
    with running_api(tmp_path) as api, pytest.raises(ClientError) as caught:
        create(api, **changes)
    assert caught.value.response["Error"]["Code"] == code
    assert text in caught.value.response["Error"]["Message"]
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_paginators_see_every_function_and_version(tmp_path: Path) -> None:
    with running_api(tmp_path) as api:
        client = api.client("lambda")
        for n in range(7):
            create(api, f"f{n}")
            client.update_function_configuration(FunctionName="f0", Timeout=10 + n)
            client.publish_version(FunctionName="f0")
        pages = client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 3})
        assert [f["FunctionName"] for page in pages for f in page["Functions"]] == [f"f{n}" for n in range(7)]
        pages = client.get_paginator("list_versions_by_function").paginate(
            FunctionName="f0", PaginationConfig={"PageSize": 3}
        )
        assert [f["Version"] for page in pages for f in page["Versions"]] == ["$LATEST", *map(str, range(1, 8))]


def test_updates_versions_tags_and_settings(tmp_path: Path) -> None:
    with running_api(tmp_path) as api:
        client = api.client("lambda")
        made = create(api)
        updated = client.update_function_code(FunctionName="hello", ZipFile=hello_zip("two"), Publish=True)
        assert (updated["Version"], updated["FunctionArn"]) == ("1", made["FunctionArn"] + ":1")
        assert updated["CodeSha256"] != made["CodeSha256"]
        changed = refusal(
            client.update_function_configuration, FunctionName="hello", Timeout=5, RevisionId=made["RevisionId"]
        )
        assert changed[:2] == ("PreconditionFailedException", 412)
        client.tag_resource(Resource=made["FunctionArn"], Tags={"a": "1", "b": "2"})
        client.untag_resource(Resource=made["FunctionArn"], TagKeys=["a"])
        assert client.list_tags(Resource=made["FunctionArn"])["Tags"] == {"b": "2"}
        assert client.get_account_settings()["AccountUsage"]["FunctionCount"] == 1
        assert refusal(client.list_aliases, FunctionName="hello")[0] == "NotImplementedException"
