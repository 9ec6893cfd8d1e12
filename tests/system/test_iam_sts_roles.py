"""IAM and STS on a whole platform: roles that functions run with and that callers assume."""

import json
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from test_lambda_api_functions import deploy, invoke, returns

from platform_fixture import running_platform
from services_fixtures import TRUST_LAMBDA

IDENTITY = "import boto3\ndef handler(event, context):\n    return boto3.client('sts').get_caller_identity()['Arn']\n"


def test_a_function_runs_as_its_role(tmp_path: Path) -> None:
    with running_platform(tmp_path) as platform:
        role = platform.client("iam").create_role(RoleName="worker", AssumeRolePolicyDocument=TRUST_LAMBDA)["Role"]
        deploy(platform, "f", IDENTITY, Role=role["Arn"], Timeout=30, MemorySize=512)
        answer = invoke(platform, "f")
        arn = json.loads(answer["Payload"])
        assert arn == f"arn:aws:sts::{platform.account}:assumed-role/worker/f", answer


def test_a_role_that_does_not_trust_lambda_is_refused(tmp_path: Path) -> None:
    with running_platform(tmp_path) as platform:
        trust = TRUST_LAMBDA.replace("lambda.amazonaws", "ec2.amazonaws")
        role = platform.client("iam").create_role(RoleName="vm", AssumeRolePolicyDocument=trust)["Role"]
        with pytest.raises(ClientError, match="The role defined for the function cannot be assumed by Lambda"):
            deploy(platform, "f", returns("x"), Role=role["Arn"])


def test_temporary_credentials_call_functions_and_roles_survive_a_restart(tmp_path: Path) -> None:
    import boto3

    data = tmp_path / "data"
    with running_platform(tmp_path, data_dir=data) as platform:
        platform.client("iam").create_role(RoleName="caller", AssumeRolePolicyDocument=TRUST_LAMBDA)
        deploy(platform, "f", returns("x"))
    with running_platform(tmp_path, data_dir=data) as platform:
        role = platform.client("iam").get_role(RoleName="caller")["Role"]
        given = platform.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="me")["Credentials"]
        client = boto3.session.Session().client(
            "lambda",
            endpoint_url=platform.api_url,
            region_name=platform.region,
            aws_access_key_id=given["AccessKeyId"],
            aws_secret_access_key=given["SecretAccessKey"],
            aws_session_token=given["SessionToken"],
        )
        assert client.invoke(FunctionName="f")["Payload"].read() == b'"x"'
