"""A real boto3 client over a real socket: what it sends is understood, and what it is refused with are its own exceptions."""

import asyncio
import io
import json
import urllib.request

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from aws_fixtures import ACCOUNT, KEY, REGION, SECRET, Rig
from lambent.aws.contract import AwsError
from lambent.clock import SystemClock
from lambent.httpd.limits import Limits
from lambent.httpd.server import listen, serve

SERVICES = {
    "lambda": ["Invoke", "CreateFunction", "ListFunctions", "GetFunction"],
    "sts": ["GetCallerIdentity"],
    "logs": ["DescribeLogGroups"],
    "iam": ["GetRole"],
}


def talk(rig: Rig, conversation) -> None:
    """Runs `conversation(client)` in a thread while the endpoint serves; `client(service)` makes a boto3 client."""

    async def run() -> None:
        sock = listen("127.0.0.1", 0)
        server = await serve(rig.endpoint.handle, sock=sock, limits=Limits())

        def client(service: str, **credentials: str):
            return boto3.client(
                service,
                endpoint_url=f"http://127.0.0.1:{server.port}",
                region_name=REGION,
                config=Config(retries={"max_attempts": 1}, parameter_validation=False),
                **{"aws_access_key_id": KEY, "aws_secret_access_key": SECRET, **credentials},
            )

        try:
            await asyncio.to_thread(conversation, client)
        finally:
            await server.close(0)

    asyncio.run(run())


def rig() -> Rig:
    made = Rig(SERVICES)
    made.keys._clock = SystemClock()
    return made


def test_boto3_invokes_and_reads_the_payload():
    made = rig()
    made.answers["Invoke"] = {
        "StatusCode": 200,
        "Payload": b'{"hello":"\xc3\xbc"}',
        "ExecutedVersion": "7",
        "LogResult": "bG9n",
    }

    def conversation(client):
        answer = client("lambda").invoke(
            FunctionName=f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:hello", Payload=b'{"a":1}', LogType="Tail"
        )
        assert json.load(answer["Payload"]) == {"hello": "ü"}
        assert (answer["StatusCode"], answer["ExecutedVersion"], answer["LogResult"]) == (200, "7", "bG9n")

    talk(made, conversation)
    assert made.calls[0].params == {
        "FunctionName": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:hello",
        "Payload": b'{"a":1}',
        "LogType": "Tail",
    }


def test_temporary_credentials_work_in_boto3():
    made = rig()
    made.answers["GetCallerIdentity"] = {"Account": ACCOUNT}
    role = made.keys.temporary(
        account=ACCOUNT, role_arn=f"arn:aws:iam::{ACCOUNT}:role/worker", session_name="hello", seconds=900
    )

    def conversation(client):
        sts = client(
            "sts",
            aws_access_key_id=role.access_key_id,
            aws_secret_access_key=role.secret_access_key,
            aws_session_token=role.session_token,
        )
        assert sts.get_caller_identity()["Account"] == ACCOUNT

    talk(made, conversation)
    assert made.calls[0].identity.arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/hello"


def test_errors_are_boto3s_exceptions():
    made = rig()
    made.answers["GetFunction"] = AwsError("ResourceNotFoundException", "Function not found: x")
    made.answers["GetRole"] = AwsError("NoSuchEntityException", "The role with name x cannot be found.")
    made.answers["DescribeLogGroups"] = AwsError("InvalidParameterException", "no")

    def conversation(client):
        functions, roles, groups = client("lambda"), client("iam"), client("logs")
        with pytest.raises(functions.exceptions.ResourceNotFoundException, match="Function not found: x"):
            functions.get_function(FunctionName="x")
        with pytest.raises(roles.exceptions.NoSuchEntityException, match="cannot be found"):
            roles.get_role(RoleName="x")
        with pytest.raises(groups.exceptions.InvalidParameterException):
            groups.describe_log_groups()
        with pytest.raises(ClientError, match=r"\(NotImplementedException\).*ListAliases"):
            functions.list_aliases(FunctionName="x")
        with pytest.raises(ClientError, match=r"\(NotImplemented\).*CreateUser"):
            roles.create_user(UserName="x")
        with pytest.raises(ClientError, match=r"\(ValidationException\).*'runtime' failed to satisfy constraint"):
            functions.create_function(FunctionName="x", Role="r", Code={"ZipFile": b"x"}, Runtime="g1.x")
        with pytest.raises(ClientError, match=r"\(InvalidClientTokenId\)"):
            client("sts", aws_access_key_id="AKIAOTHER").get_caller_identity()
        with pytest.raises(ClientError, match=r"\(InvalidSignatureException\)"):
            client("lambda", aws_secret_access_key="other").list_functions()

    talk(made, conversation)


def test_a_presigned_url_of_boto3_is_let_in():
    made = rig()
    made.answers["GetFunction"] = {"Tags": {"a": "b"}}

    def conversation(client):

        url = client("lambda").generate_presigned_url("get_function", {"FunctionName": "x", "Qualifier": "$LATEST"})
        with urllib.request.urlopen(url) as answer:
            assert json.load(io.BytesIO(answer.read())) == {"Tags": {"a": "b"}}

    talk(made, conversation)
    assert made.calls[0].params == {"FunctionName": "x", "Qualifier": "$LATEST"}
