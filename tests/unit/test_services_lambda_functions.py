"""Functions, versions and tags over the Lambda API, in process."""

import asyncio
import base64
import hashlib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from functions_fixtures import ACCOUNT, REGION, hello_zip, zip_of
from lambent.httpd.messages import Request
from lambent.services.iam.records import Role
from lambent.state.memory import MemoryState
from services_fixtures import ROLE, TRUST_LAMBDA, LambdaInProcess, call, lambda_in_process, refused

ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:hello"


def create_params(**changes: Any) -> dict[str, Any]:
    params = {
        "FunctionName": "hello",
        "Runtime": "python3.12",
        "Handler": "app.handler",
        "Role": ROLE,
        "Code": {"ZipFile": hello_zip()},
    }
    return {name: value for name, value in {**params, **changes}.items() if value is not None}


async def deployed(tmp_path: Path, **changes: Any) -> LambdaInProcess:
    here = await lambda_in_process(tmp_path)
    await call(here.service, "CreateFunction", **create_params(**changes))
    return here


def test_a_created_function_answers_with_every_member_that_aws_gives(tmp_path: Path) -> None:
    async def run() -> None:
        here = await lambda_in_process(tmp_path)
        made = await call(here.service, "CreateFunction", **create_params())
        assert len(made["RevisionId"]) == 36
        assert made["RuntimeVersionConfig"]["RuntimeVersionArn"].startswith(f"arn:aws:lambda:{REGION}::runtime:")
        rest = {key: value for key, value in made.items() if key not in ("RevisionId", "RuntimeVersionConfig")}
        assert rest == {
            "FunctionName": "hello",
            "FunctionArn": ARN,
            "Runtime": "python3.12",
            "Role": ROLE,
            "Handler": "app.handler",
            "CodeSize": len(hello_zip()),
            "Description": "",
            "Timeout": 3,
            "MemorySize": 128,
            "LastModified": "2026-01-01T00:00:00.123+0000",
            "CodeSha256": base64.b64encode(hashlib.sha256(hello_zip()).digest()).decode(),
            "Version": "$LATEST",
            "TracingConfig": {"Mode": "PassThrough"},
            "State": "Active",
            "LastUpdateStatus": "Successful",
            "PackageType": "Zip",
            "Architectures": ["x86_64"],
            "EphemeralStorage": {"Size": 512},
            "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
            "LoggingConfig": {"LogFormat": "Text", "LogGroup": "/aws/lambda/hello"},
        }
        assert await call(here.service, "GetFunctionConfiguration", FunctionName="hello") == made
        assert (await here.store.code.directory(here.store.resolve(ACCOUNT, REGION, "hello").code_digest)).is_dir()

    asyncio.run(run())


def test_a_second_function_of_the_name_is_refused(tmp_path: Path) -> None:
    async def run() -> None:
        here = await deployed(tmp_path)
        error = await refused(here.service, "CreateFunction", **create_params())
        assert (error.code, error.status, error.message) == (
            "ResourceConflictException",
            409,
            "Function already exist: hello",
        )
        assert error.members == {"Type": "User"}

    asyncio.run(run())


INVALID = "InvalidParameterValueException"
REFUSED_AT_CREATE: list[tuple[dict[str, Any], str, str]] = [
    ({"Handler": None}, INVALID, "Runtime and Handler are mandatory parameters for functions created with deployment"),
    ({"Runtime": None}, INVALID, "Runtime and Handler are mandatory"),
    ({"Runtime": "java21"}, INVALID, "The runtime parameter of java21 is not supported"),
    ({"Runtime": "java21"}, INVALID, "install a JDK"),
    ({"Runtime": "cobol"}, INVALID, "there is no runtime cobol"),
    ({"Code": {}}, INVALID, "Please provide a source for function code."),
    ({"Code": {"S3Bucket": "b", "S3Key": "k"}}, INVALID, "Code from Amazon S3"),
    ({"Code": {"ImageUri": "x"}, "PackageType": "Image"}, INVALID, "PackageType Image"),
    ({"Code": {"ImageUri": "x"}}, INVALID, "container image"),
    ({"Code": {"ZipFile": b"no zip"}}, INVALID, "Could not unzip uploaded file. Please check your file"),
    ({"Code": {"ZipFile": zip_of({})}}, INVALID, "Uploaded file must be a non-empty zip"),
    ({"Code": {"ZipFile": zip_of({"../x": b""})}}, INVALID, "leads out of the package"),
    (
        {"Timeout": 901},
        "ValidationException",
        "Value '901' at 'timeout' failed to satisfy constraint: Member must have",
    ),
    ({"MemorySize": 10_241}, "ValidationException", "at 'memorySize'"),
    ({"EphemeralStorage": {"Size": 10_241}}, "ValidationException", "at 'ephemeralStorage.size'"),
    ({"FunctionName": "a" * 65}, "ValidationException", "is not a function name"),
    ({"FunctionName": f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:x"}, "ResourceNotFoundException", "not reachable"),
    ({"FunctionName": f"arn:aws:lambda:{REGION}:999999999999:function:x"}, "AccessDeniedException", "not authorized"),
    ({"Architectures": ["arm64"]}, INVALID, "The architecture arm64 (this machine runs x86_64)"),
    ({"VpcConfig": {"SubnetIds": ["subnet-1"]}}, INVALID, "VpcConfig is not supported"),
    ({"Layers": ["arn:aws:lambda:us-east-1:123456789012:layer:x:1"]}, INVALID, "Layers"),
    ({"DeadLetterConfig": {"TargetArn": "arn:aws:sqs:x"}}, INVALID, "DeadLetterConfig"),
    ({"KMSKeyArn": "arn:aws:kms:x"}, INVALID, "KMSKeyArn"),
    ({"TracingConfig": {"Mode": "Active"}}, INVALID, "TracingConfig"),
    ({"SnapStart": {"ApplyOn": "PublishedVersions"}}, INVALID, "SnapStart"),
    ({"FileSystemConfigs": [{"Arn": "a", "LocalMountPath": "/mnt/x"}]}, INVALID, "FileSystemConfigs"),
    ({"ImageConfig": {"Command": ["x"]}}, INVALID, "ImageConfig"),
    ({"LoggingConfig": {"LogFormat": "JSON"}}, INVALID, "LoggingConfig.LogFormat JSON"),
    ({"LoggingConfig": {"SystemLogLevel": "WARN"}}, INVALID, "LoggingConfig.SystemLogLevel"),
    ({"DurableConfig": {"ExecutionTimeout": 5}}, INVALID, "DurableConfig"),
    (
        {"Environment": {"Variables": {"AWS_REGION": "x", "OK": "1"}}},
        INVALID,
        "Reserved keys used in this request: AWS_REGION",
    ),
    (
        {"Environment": {"Variables": {"BIG": "x" * 5000}}},
        INVALID,
        'exceeded the 4KB limit. String measured: {"BIG":"xx',
    ),
    ({"Tags": {str(n): "" for n in range(51)}}, INVALID, "Number of tags exceeds"),
    ({"Tags": {"aws:x": ""}}, INVALID, "aws: prefixed tag key names"),
]


@pytest.mark.parametrize(("changes", "code", "text"), REFUSED_AT_CREATE)
def test_creation_refuses_what_cannot_be(tmp_path: Path, changes: dict[str, Any], code: str, text: str) -> None:
    async def run() -> None:
        here = await lambda_in_process(tmp_path)
        error = await refused(here.service, "CreateFunction", **create_params(**changes))
        assert error.code == code and text in error.message
        assert here.store.all_versions() == []

    asyncio.run(run())


def test_harmless_defaults_of_missing_features_are_taken(tmp_path: Path) -> None:
    async def run() -> None:
        here = await deployed(
            tmp_path,
            VpcConfig={"SubnetIds": [], "SecurityGroupIds": [], "Ipv6AllowedForDualStack": False},
            DeadLetterConfig={},
            Layers=[],
            KMSKeyArn="",
            TracingConfig={"Mode": "PassThrough"},
            SnapStart={"ApplyOn": "None"},
            PackageType="Zip",
            Architectures=["x86_64"],
            LoggingConfig={"LogFormat": "Text", "LogGroup": "/my/group"},
            EphemeralStorage={"Size": 1024},
            Environment={"Variables": {"A_b1": "€"}},
        )
        found = await call(here.service, "GetFunctionConfiguration", FunctionName="hello")
        assert found["LoggingConfig"]["LogGroup"] == "/my/group"
        assert found["EphemeralStorage"] == {"Size": 1024}
        assert found["Environment"] == {"Variables": {"A_b1": "€"}}

    asyncio.run(run())


def test_a_zip_over_the_limit_is_request_entity_too_large(tmp_path: Path) -> None:
    async def run() -> None:
        here = await lambda_in_process(tmp_path, package_zip_max=1536)
        error = await refused(here.service, "CreateFunction", **create_params(Code={"ZipFile": b"x" * 1537}))
        assert (error.code, error.status) == ("RequestEntityTooLargeException", 413)
        assert error.message == "Request must be smaller than 2048 bytes for the CreateFunction operation"

    asyncio.run(run())


def test_the_room_for_code_is_bounded(tmp_path: Path) -> None:
    async def run() -> None:
        here = await lambda_in_process(tmp_path, code_storage_max=1024 * 1024)
        await call(here.service, "CreateFunction", **create_params())
        await here.store.update(ACCOUNT, REGION, "hello", code_size=1024 * 1024)
        error = await refused(here.service, "CreateFunction", **create_params(FunctionName="two"))
        assert error.code == "CodeStorageExceededException"

    asyncio.run(run())


def test_a_stored_role_must_trust_lambda_and_any_other_is_taken(tmp_path: Path) -> None:
    async def run() -> None:

        here = await lambda_in_process(tmp_path)
        trust_ec2 = TRUST_LAMBDA.replace("lambda", "ec2")
        await here.roles.create(Role(account=ACCOUNT, name="x", created_ms=0, trust_document=trust_ec2))
        error = await refused(here.service, "CreateFunction", **create_params())
        assert error.message == "The role defined for the function cannot be assumed by Lambda."
        await here.roles.set_trust(ACCOUNT, "x", TRUST_LAMBDA)
        await call(here.service, "CreateFunction", **create_params())
        await call(
            here.service, "CreateFunction", **create_params(FunctionName="b", Role="arn:aws:iam::000000000000:role/y")
        )

    asyncio.run(run())


def test_publish_at_creation_gives_version_1(tmp_path: Path) -> None:
    async def run() -> None:
        here = await lambda_in_process(tmp_path)
        made = await call(here.service, "CreateFunction", **create_params(Publish=True))
        assert (made["Version"], made["FunctionArn"]) == ("1", f"{ARN}:1")

    asyncio.run(run())


def test_code_updates_change_revision_and_digest_and_dry_runs_change_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        here = await deployed(tmp_path)
        before = await call(here.service, "GetFunctionConfiguration", FunctionName="hello")
        new = hello_zip("new")
        tried = await call(here.service, "UpdateFunctionCode", FunctionName="hello", ZipFile=new, DryRun=True)
        assert tried["CodeSha256"] == base64.b64encode(hashlib.sha256(new).digest()).decode()
        assert await call(here.service, "GetFunctionConfiguration", FunctionName="hello") == before
        here.clock.advance(60)
        changed = await call(
            here.service, "UpdateFunctionCode", FunctionName="hello", ZipFile=new, RevisionId=before["RevisionId"]
        )
        assert changed["CodeSha256"] == tried["CodeSha256"]
        assert changed["RevisionId"] != before["RevisionId"]
        assert changed["LastModified"] == "2026-01-01T00:01:00.123+0000"
        error = await refused(
            here.service, "UpdateFunctionCode", FunctionName="hello", ZipFile=new, RevisionId=before["RevisionId"]
        )
        assert (error.code, error.status) == ("PreconditionFailedException", 412)
        published = await call(here.service, "UpdateFunctionCode", FunctionName="hello", ZipFile=new, Publish=True)
        assert published["Version"] == "1"
        error = await refused(here.service, "UpdateFunctionCode", FunctionName="nope", ZipFile=new)
        assert (error.code, error.status) == ("ResourceNotFoundException", 404)
        error = await refused(here.service, "UpdateFunctionCode", FunctionName="hello")
        assert error.message == "Please provide a source for function code."
        error = await refused(here.service, "UpdateFunctionCode", FunctionName="hello:1", ZipFile=new)
        assert error.code == INVALID

    asyncio.run(run())


def test_configuration_updates_change_only_what_is_given(tmp_path: Path) -> None:
    async def run() -> None:
        here = await deployed(tmp_path, Environment={"Variables": {"A1": "x"}}, Description="d")
        changed = await call(
            here.service, "UpdateFunctionConfiguration", FunctionName="hello", Timeout=7, MemorySize=256
        )
        assert (changed["Timeout"], changed["MemorySize"], changed["Description"]) == (7, 256, "d")
        assert changed["Environment"] == {"Variables": {"A1": "x"}}
        changed = await call(here.service, "UpdateFunctionConfiguration", FunctionName="hello", Environment={})
        assert "Environment" not in changed
        error = await refused(here.service, "UpdateFunctionConfiguration", FunctionName="hello", Runtime="java21")
        assert error.code == INVALID
        error = await refused(
            here.service, "UpdateFunctionConfiguration", FunctionName="hello", RevisionId="x", Timeout=1
        )
        assert error.code == "PreconditionFailedException"

    asyncio.run(run())


def test_the_code_location_works_until_it_expires_and_only_unchanged(tmp_path: Path) -> None:
    async def run() -> None:
        here = await deployed(tmp_path, Tags={"a": "b"})
        found = await call(here.service, "GetFunction", FunctionName=ARN)
        assert found["Tags"] == {"a": "b"}
        assert found["Configuration"]["FunctionName"] == "hello"
        assert found["Code"]["RepositoryType"] == "S3"
        url = urlsplit(found["Code"]["Location"])
        assert (url.scheme, url.netloc) == ("http", "api.test:4566")
        assert url.path.startswith(here.api.code_path_prefix)

        async def fetch(path: str, query: str, method: str = "GET") -> tuple[int, bytes]:
            response = await here.api.code_download(Request(method, path, query))
            assert isinstance(response.body, bytes)
            return response.status, response.body

        assert await fetch(url.path, url.query) == (200, hello_zip())
        assert (await fetch(url.path, url.query.replace("expires=1", "expires=2")))[0] == 403
        assert (await fetch(url.path.replace("/code/", "/code/0"), url.query))[0] == 403
        assert (await fetch(url.path, ""))[0] == 403
        assert (await fetch(url.path, "expires=é&signature=é"))[0] == 403
        assert (await fetch("/_lambent/code/../../etc/passwd", url.query))[0] == 403
        assert (await fetch(url.path, url.query, "PUT"))[0] == 405
        here.clock.advance(601)
        status, body = await fetch(url.path, url.query)
        assert status == 403 and b"Request has expired" in body

    asyncio.run(run())


def test_getting_what_is_not_there_names_the_arn(tmp_path: Path) -> None:
    async def run() -> None:
        here = await deployed(tmp_path)
        error = await refused(here.service, "GetFunction", FunctionName="hello", Qualifier="9")
        assert error.message == f"Function not found: {ARN}:9" and error.status == 404
        error = await refused(here.service, "GetFunction", FunctionName="nope")
        assert error.message == f"Function not found: arn:aws:lambda:{REGION}:{ACCOUNT}:function:nope"
        error = await refused(here.service, "GetFunction", FunctionName="hello:1", Qualifier="2")
        assert error.message == "The derived qualifier from the function name does not match the specified qualifier."

    asyncio.run(run())


def test_lists_are_paged_capped_and_leave_out_the_state(tmp_path: Path) -> None:
    async def run() -> None:
        here = await lambda_in_process(tmp_path)
        for n in range(61):
            await call(here.service, "CreateFunction", **create_params(FunctionName=f"f{n:02d}"))
        first = await call(here.service, "ListFunctions", MaxItems=1000)
        assert len(first["Functions"]) == 50
        assert "State" not in first["Functions"][0] and "LastUpdateStatus" not in first["Functions"][0]
        await call(here.service, "DeleteFunction", FunctionName=first["Functions"][-1]["FunctionName"])
        await call(here.service, "DeleteFunction", FunctionName="f00")
        second = await call(here.service, "ListFunctions", Marker=first["NextMarker"])
        assert [f["FunctionName"] for f in second["Functions"]] == [f"f{n}" for n in range(50, 61)]
        assert "NextMarker" not in second
        error = await refused(here.service, "ListFunctions", Marker="!!!")
        assert error.code == INVALID

    asyncio.run(run())


def test_all_versions_are_listed_with_qualified_arns(tmp_path: Path) -> None:
    async def run() -> None:
        here = await deployed(tmp_path)
        for timeout in (4, 5):
            await call(here.service, "PublishVersion", FunctionName="hello")
            await call(here.service, "UpdateFunctionConfiguration", FunctionName="hello", Timeout=timeout)
        every = await call(here.service, "ListFunctions", FunctionVersion="ALL")
        listed = await call(here.service, "ListVersionsByFunction", FunctionName="hello")
        arns = [f"{ARN}:$LATEST", f"{ARN}:1", f"{ARN}:2"]
        assert [f["FunctionArn"] for f in every["Functions"]] == arns
        assert [f["FunctionArn"] for f in listed["Versions"]] == arns
        pages, marker = [], None
        while True:
            page = await call(
                here.service,
                "ListVersionsByFunction",
                FunctionName="hello",
                MaxItems=1,
                **({"Marker": marker} if marker else {}),
            )
            pages += [f["Version"] for f in page["Versions"]]
            marker = page.get("NextMarker")
            if marker is None:
                break
        assert pages == ["$LATEST", "1", "2"]

    asyncio.run(run())


def test_publishing_checks_the_code_digest_in_base64(tmp_path: Path) -> None:
    async def run() -> None:
        here = await deployed(tmp_path)
        sha = (await call(here.service, "GetFunctionConfiguration", FunctionName="hello"))["CodeSha256"]
        error = await refused(here.service, "PublishVersion", FunctionName="hello", CodeSha256="xyz")
        assert error.message == (
            f"CodeSHA256 (xyz) is different from current CodeSHA256 in $LATEST ({sha}). "
            "Please try again with the CodeSHA256 in $LATEST."
        )
        made = await call(here.service, "PublishVersion", FunctionName="hello", CodeSha256=sha, Description="one")
        assert (made["Version"], made["Description"]) == ("1", "one")

    asyncio.run(run())


def test_deleting_versions_and_functions(tmp_path: Path) -> None:
    async def run() -> None:
        here = await deployed(tmp_path, Publish=True)
        error = await refused(here.service, "DeleteFunction", FunctionName="hello", Qualifier="$LATEST")
        assert error.message == "$LATEST version cannot be deleted without deleting the function."
        error = await refused(here.service, "DeleteFunction", FunctionName="hello", Qualifier="prod")
        assert error.message == "Deletion of aliases is not currently supported."
        assert await call(here.service, "DeleteFunction", FunctionName="hello:1") == {"StatusCode": 204}
        assert (await refused(here.service, "GetFunction", FunctionName="hello:1")).status == 404
        assert await call(here.service, "DeleteFunction", FunctionName=ARN) == {"StatusCode": 204}
        error = await refused(here.service, "DeleteFunction", FunctionName="hello")
        assert error.code == "ResourceNotFoundException"

    asyncio.run(run())


def test_tags_belong_to_the_function_only(tmp_path: Path) -> None:
    async def run() -> None:
        here = await deployed(tmp_path)
        await call(here.service, "TagResource", Resource=ARN, Tags={"a": "1", "b": "2"})
        await call(here.service, "UntagResource", Resource=ARN, TagKeys=["a", "zz"])
        assert await call(here.service, "ListTags", Resource=ARN) == {"Tags": {"b": "2"}}
        error = await refused(here.service, "TagResource", Resource=f"{ARN}:1", Tags={"a": "1"})
        assert (
            error.message == "Tags on function aliases and versions are not supported. Please specify a function ARN."
        )
        other = ARN.replace(":function:hello", ":event-source-mapping:00000000-0000-0000-0000-000000000000")
        assert "event-source-mapping" in (await refused(here.service, "ListTags", Resource=other)).message
        assert (await refused(here.service, "ListTags", Resource=ARN + "x")).status == 404

    asyncio.run(run())


def test_account_settings_tell_limits_and_use(tmp_path: Path) -> None:
    async def run() -> None:
        here = await deployed(tmp_path, Publish=True)
        found = await call(here.service, "GetAccountSettings")
        assert found["AccountUsage"] == {"TotalCodeSize": 2 * len(hello_zip()), "FunctionCount": 1}
        assert found["AccountLimit"] == {
            "TotalCodeSize": 80530636800,
            "CodeSizeUnzipped": 262144000,
            "CodeSizeZipped": 52428800,
            "ConcurrentExecutions": 1000,
            "UnreservedConcurrentExecutions": 1000,
        }

    asyncio.run(run())


def test_a_lost_bus_is_a_service_exception_and_nothing_is_acknowledged(tmp_path: Path) -> None:
    async def run() -> None:
        state = MemoryState()
        here = await lambda_in_process(tmp_path, state)
        state.available = False
        error = await refused(here.service, "CreateFunction", **create_params())
        assert (error.code, error.status) == ("ServiceException", 500)
        state.available = True
        await call(here.service, "CreateFunction", **create_params())

    asyncio.run(run())
