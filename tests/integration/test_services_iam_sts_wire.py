"""IAM and STS as boto3 sees them."""

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from aws_fixtures import ACCOUNT
from services_api_fixtures import running_api
from services_fixtures import TRUST_LAMBDA

POLICY = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "logs:*", "Resource": "*", "Sid": "Ä"}]}
)
BASIC = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"


def refusal(call: Any, **params: Any) -> tuple[str, int, str]:
    with pytest.raises(ClientError) as caught:
        call(**params)
    answer = caught.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Message"]


def test_a_role_lives_from_creation_to_deletion(tmp_path: Path) -> None:
    with running_api(tmp_path) as api:
        iam = api.client("iam")
        made = iam.create_role(
            RoleName="worker",
            Path="/team/",
            AssumeRolePolicyDocument=TRUST_LAMBDA,
            Description="d",
            MaxSessionDuration=7200,
            Tags=[{"Key": "a", "Value": "1"}],
        )["Role"]
        assert made["Arn"] == f"arn:aws:iam::{ACCOUNT}:role/team/worker"
        assert made["RoleId"].startswith("AROA") and len(made["RoleId"]) == 21
        assert made["AssumeRolePolicyDocument"] == json.loads(TRUST_LAMBDA)
        found = iam.get_role(RoleName="worker")["Role"]
        assert found == made and found["MaxSessionDuration"] == 7200 and found["Tags"] == [{"Key": "a", "Value": "1"}]
        assert refusal(iam.create_role, RoleName="WORKER", AssumeRolePolicyDocument=TRUST_LAMBDA) == (
            "EntityAlreadyExists",
            409,
            "Role with name WORKER already exists.",
        )
        iam.put_role_policy(RoleName="worker", PolicyName="p", PolicyDocument=POLICY)
        assert iam.get_role_policy(RoleName="worker", PolicyName="p")["PolicyDocument"] == json.loads(POLICY)
        assert iam.list_role_policies(RoleName="worker")["PolicyNames"] == ["p"]
        iam.attach_role_policy(RoleName="worker", PolicyArn=BASIC)
        iam.attach_role_policy(RoleName="worker", PolicyArn=BASIC)
        assert iam.list_attached_role_policies(RoleName="worker")["AttachedPolicies"] == [
            {"PolicyName": "AWSLambdaBasicExecutionRole", "PolicyArn": BASIC}
        ]
        assert refusal(iam.delete_role, RoleName="worker") == (
            "DeleteConflict",
            409,
            "Cannot delete entity, must detach all policies first.",
        )
        iam.detach_role_policy(RoleName="worker", PolicyArn=BASIC)
        assert refusal(iam.detach_role_policy, RoleName="worker", PolicyArn=BASIC)[:2] == ("NoSuchEntity", 404)
        assert refusal(iam.delete_role, RoleName="worker")[2] == "Cannot delete entity, must delete policies first."
        iam.delete_role_policy(RoleName="worker", PolicyName="p")
        assert iam.list_instance_profiles_for_role(RoleName="worker")["InstanceProfiles"] == []
        iam.delete_role(RoleName="worker")
        assert refusal(iam.get_role, RoleName="worker") == (
            "NoSuchEntity",
            404,
            "The role with name worker cannot be found.",
        )


def test_roles_are_listed_by_page_and_path(tmp_path: Path) -> None:
    with running_api(tmp_path) as api:
        iam = api.client("iam")
        for n in range(5):
            iam.create_role(
                RoleName=f"r{n}", Path="/even/" if n % 2 == 0 else "/", AssumeRolePolicyDocument=TRUST_LAMBDA
            )
        pages = list(iam.get_paginator("list_roles").paginate(PaginationConfig={"PageSize": 2}))
        assert [role["RoleName"] for page in pages for role in page["Roles"]] == [f"r{n}" for n in range(5)]
        assert [page["IsTruncated"] for page in pages] == [True, True, False]
        even = iam.list_roles(PathPrefix="/even/")["Roles"]
        assert [role["RoleName"] for role in even] == ["r0", "r2", "r4"]
        iam.tag_role(RoleName="r0", Tags=[{"Key": "k", "Value": "v"}, {"Key": "l", "Value": ""}])
        iam.untag_role(RoleName="r0", TagKeys=["l"])
        assert iam.list_role_tags(RoleName="r0")["Tags"] == [{"Key": "k", "Value": "v"}]


def statement(**members: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **members}]})


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ("not json", "This policy contains invalid Json"),
        ("[]", "Syntax errors in policy."),
        ('{"Version": "2020-01-01", "Statement": []}', "Syntax errors in policy."),
        ("[" * 5000, "This policy contains invalid Json"),
        (statement(Action="sts:AssumeRole"), "Missing required field Principal"),
        (statement(Principal="*"), "Missing required field Action"),
        (
            statement(Principal={"AWS": "*"}, Action="s3:*"),
            "AssumeRole policy may only specify STS AssumeRole actions.",
        ),
        (statement(Principal={"AWS": "*"}, Action="sts:AssumeRole", Resource="*"), "Has prohibited field Resource"),
        (statement(Principal=5, Action="sts:AssumeRole"), "Syntax errors in policy."),
        (statement(Principal="*", Action="sts:AssumeRole", Effekt="x"), "Syntax errors in policy."),
    ],
)
def test_malformed_trust_policies_are_refused(tmp_path: Path, document: str, text: str) -> None:
    with running_api(tmp_path) as api:
        code, status, message = refusal(api.client("iam").create_role, RoleName="r", AssumeRolePolicyDocument=document)
        assert (code, status, message) == ("MalformedPolicyDocument", 400, text)


@pytest.mark.parametrize(
    ("document", "text"),
    [
        (statement(Action="s3:*", Resource="*", Principal="*"), "Policy document should not specify a principal."),
        (statement(Resource="*"), "Policy statement must contain actions."),
        (statement(Action="s3:*"), "Policy statement must contain resources."),
        (statement(Action="s3:*", NotAction="s3:*", Resource="*"), "Syntax errors in policy."),
    ],
)
def test_malformed_permission_policies_are_refused(tmp_path: Path, document: str, text: str) -> None:
    with running_api(tmp_path) as api:
        iam = api.client("iam")
        iam.create_role(RoleName="r", AssumeRolePolicyDocument=TRUST_LAMBDA)
        code, _, message = refusal(iam.put_role_policy, RoleName="r", PolicyName="p", PolicyDocument=document)
        assert (code, message) == ("MalformedPolicyDocument", text)


def test_quotas_of_roles_hold(tmp_path: Path) -> None:
    with running_api(tmp_path) as api:
        iam = api.client("iam")
        iam.create_role(RoleName="r", AssumeRolePolicyDocument=TRUST_LAMBDA)
        long = statement(Action=["s3:" + "x" * 100] * 110, Resource="*")
        assert refusal(iam.put_role_policy, RoleName="r", PolicyName="p", PolicyDocument=long)[:2] == (
            "LimitExceeded",
            409,
        )
        for n in range(10):
            iam.attach_role_policy(RoleName="r", PolicyArn=f"arn:aws:iam::aws:policy/P{n}")
        assert refusal(iam.attach_role_policy, RoleName="r", PolicyArn=BASIC)[0] == "LimitExceeded"
        own = f"arn:aws:iam::{ACCOUNT}:policy/mine"
        assert refusal(iam.attach_role_policy, RoleName="r", PolicyArn=own) == (
            "NoSuchEntity",
            404,
            f"Policy {own} does not exist or is not attachable.",
        )


def test_the_caller_and_an_assumed_role_are_told(tmp_path: Path) -> None:
    with running_api(tmp_path) as api:
        sts, iam = api.client("sts"), api.client("iam")
        me = sts.get_caller_identity()
        assert (me["Account"], me["UserId"], me["Arn"]) == (ACCOUNT, ACCOUNT, f"arn:aws:iam::{ACCOUNT}:root")
        role = iam.create_role(RoleName="worker", AssumeRolePolicyDocument=TRUST_LAMBDA)["Role"]
        made = sts.assume_role(RoleArn=role["Arn"], RoleSessionName="me")
        assert made["AssumedRoleUser"] == {
            "AssumedRoleId": role["RoleId"] + ":me",
            "Arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/me",
        }
        given = made["Credentials"]
        as_role = api.client(
            "sts",
            aws_access_key_id=given["AccessKeyId"],
            aws_secret_access_key=given["SecretAccessKey"],
            aws_session_token=given["SessionToken"],
        ).get_caller_identity()
        assert as_role["Arn"] == made["AssumedRoleUser"]["Arn"]
        assert as_role["UserId"] == made["AssumedRoleUser"]["AssumedRoleId"]


def test_what_cannot_be_assumed_is_refused(tmp_path: Path) -> None:
    with running_api(tmp_path) as api:
        sts, iam = api.client("sts"), api.client("iam")
        arn = f"arn:aws:iam::{ACCOUNT}:role/none"
        assert refusal(sts.assume_role, RoleArn=arn, RoleSessionName="me") == (
            "AccessDenied",
            403,
            f"User: arn:aws:iam::{ACCOUNT}:root is not authorized to perform: sts:AssumeRole on resource: {arn}",
        )
        role = iam.create_role(RoleName="r", AssumeRolePolicyDocument=TRUST_LAMBDA)["Role"]["Arn"]
        assert refusal(sts.assume_role, RoleArn=role, RoleSessionName="me", DurationSeconds=7200)[:2] == (
            "ValidationError",
            400,
        )
        assert refusal(sts.assume_role, RoleArn=role, RoleSessionName="me", Policy="{}")[0] == "ValidationError"
        assert refusal(sts.get_session_token)[0] == "NotImplemented"
