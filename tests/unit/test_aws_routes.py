"""Paths to operations, and requests to services."""

import pytest

from aws_fixtures import Rig
from lambent.aws.contract import Service
from lambent.aws.models import ModelMissing, Models, OperationModel
from lambent.aws.operations import Offer
from lambent.aws.protocols.contract import Malformed
from lambent.aws.recognise import Recogniser, scope
from lambent.aws.reference import operations_page
from lambent.aws.routes import Routes
from lambent.httpd.messages import Request

MODELS = Models()
LAMBDA = Routes(MODELS.get("lambda").operations.values())
S3 = Routes(MODELS.get("s3").operations.values())


@pytest.mark.parametrize(
    ("method", "path", "operation", "labels"),
    [
        ("GET", "/2015-03-31/functions/", "ListFunctions", {}),
        ("GET", "/2015-03-31/functions", "ListFunctions", {}),
        ("POST", "/2015-03-31/functions/", "CreateFunction", {}),
        ("GET", "/2015-03-31/functions/a", "GetFunction", {"FunctionName": "a"}),
        ("GET", "/2015-03-31/functions/a/", "GetFunction", {"FunctionName": "a"}),
        ("GET", "/2015-03-31/functions/a%3Ab", "GetFunction", {"FunctionName": "a:b"}),
        ("GET", "/2015-03-31/functions/a%2Fb", "GetFunction", {"FunctionName": "a/b"}),
        ("GET", "/2015-03-31/functions/versions/versions", "ListVersionsByFunction", {"FunctionName": "versions"}),
        ("DELETE", "/2015-03-31/functions/a/aliases/b", "DeleteAlias", {"FunctionName": "a", "Name": "b"}),
        ("POST", "/2014-11-13/functions/a/invoke-async/", "InvokeAsync", {"FunctionName": "a"}),
        ("GET", "/2017-03-31/tags/arn%3Aaws%3Alambda", "ListTags", {"Resource": "arn:aws:lambda"}),
    ],
)
def test_a_path_is_an_operation_with_labels(method, path, operation, labels):
    found = LAMBDA.match(method, path, "", {})
    assert found is not None
    assert (found[0].name, dict(found[1])) == (operation, labels)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", ""),
        ("GET", "/2015-03-31"),
        ("GET", "/2015-03-31/functions//code"),
        ("GET", "//functions"),
        ("PATCH", "/2015-03-31/functions"),
        ("GET", "/2015-03-31/functions/a/b/c/d/e"),
        ("GET", "/" + "a/" * 10_000),
    ],
)
def test_a_path_of_no_operation_is_none(method, path):
    assert LAMBDA.match(method, path, "", {}) is None


def test_a_label_that_is_not_utf8_is_malformed():
    with pytest.raises(Malformed):
        LAMBDA.match("GET", "/2015-03-31/functions/%ff", "", {})


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "operation", "labels"),
    [
        ("GET", "/b/dir/key/", "", {}, "GetObject", {"Bucket": "b", "Key": "dir/key/"}),
        ("GET", "/b/a%20b/c", "", {}, "GetObject", {"Bucket": "b", "Key": "a b/c"}),
        ("GET", "/b", "list-type=2", {}, "ListObjectsV2", {"Bucket": "b"}),
        ("GET", "/b/", "", {}, "ListObjects", {"Bucket": "b"}),
        ("GET", "/b", "policy", {}, "GetBucketPolicy", {"Bucket": "b"}),
        ("GET", "/b/k", "uploadId=1", {}, "ListParts", {"Bucket": "b", "Key": "k"}),
        ("PUT", "/b/k", "", {}, "PutObject", {"Bucket": "b", "Key": "k"}),
        ("PUT", "/b/k", "", {"x-amz-copy-source": "a"}, "CopyObject", {"Bucket": "b", "Key": "k"}),
        ("PUT", "/b/k", "partNumber=1&uploadId=2", {}, "UploadPart", {"Bucket": "b", "Key": "k"}),
    ],
)
def test_operations_of_one_path_are_told_apart(method, path, query, headers, operation, labels):
    found = S3.match(method, path, query, headers)
    assert found is not None
    assert (found[0].name, dict(found[1])) == (operation, labels)


def scoped(service: str) -> dict[str, str]:
    return {"authorization": f"AWS4-HMAC-SHA256 Credential=AKIA/20260101/eu-west-1/{service}/aws4_request, Signed"}


@pytest.mark.parametrize(
    ("headers", "query", "expected"),
    [
        (scoped("lambda"), "", ("lambda", "eu-west-1")),
        ({}, "X-Amz-Credential=AKIA%2F20260101%2Fus-east-1%2Fsts%2Faws4_request&X-Amz-Date=1", ("sts", "us-east-1")),
        ({"authorization": "Bearer abc"}, "", ("", "")),
        ({"authorization": "/aws4_request"}, "", ("", "")),
        ({}, "X-Amz-Credential=nonsense", ("", "")),
        ({}, "", ("", "")),
    ],
)
def test_the_scope_is_read_from_header_or_query(headers, query, expected):
    assert scope(Request("GET", "/", query, headers)) == expected


def recognised(request: Request) -> tuple[str, str, str]:
    names = ("s3", "lambda", "apigateway", "apigatewayv2", "sts", "iam", "cloudwatch", "logs", "sqs")
    target = Recogniser([Offer(MODELS.get(name), {}) for name in names]).recognise(request)
    assert isinstance(target.operation, OperationModel), target.fault
    return target.offer.model.name, target.operation.name, target.protocol


FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (Request("GET", "/restapis", "", scoped("apigateway")), ("apigateway", "GetRestApis", "rest-json")),
        (Request("GET", "/v2/apis", "", scoped("apigateway")), ("apigatewayv2", "GetApis", "rest-json")),
        (Request("GET", "/2015-03-31/functions", "", {}), ("lambda", "ListFunctions", "rest-json")),
        (Request("GET", "/v2/apis", "", {}), ("apigatewayv2", "GetApis", "rest-json")),
        (Request("GET", "/b/k", "", {"host": "s3.localhost:4566"}), ("s3", "GetObject", "rest-xml")),
        (Request("GET", "/b/k", "", {}), ("s3", "GetObject", "rest-xml")),
        (
            Request("POST", "/", "", {"x-amz-target": "Logs_20140328.DescribeLogGroups"}, b"{}"),
            ("logs", "DescribeLogGroups", "json"),
        ),
        (
            Request("POST", "/", "", scoped("monitoring") | FORM, b"Action=ListMetrics&Version=2010-08-01"),
            ("cloudwatch", "ListMetrics", "query"),
        ),
        (
            Request(
                "POST",
                "/",
                "",
                scoped("monitoring") | {"x-amz-target": "GraniteServiceVersion20100801.ListMetrics"},
                b"{}",
            ),
            ("cloudwatch", "ListMetrics", "json"),
        ),
        (Request("POST", "/", "", FORM, b"Version=2011-06-15&Action=AssumeRole"), ("sts", "AssumeRole", "query")),
        (Request("GET", "/", "Action=GetUser&Version=2010-05-08", {}), ("iam", "GetUser", "query")),
    ],
)
def test_a_request_is_recognised_by_scope_target_action_host_and_path(request_, expected):
    assert recognised(request_) == expected


@pytest.mark.parametrize("name", ["nothing", "../data/lambda", "lambda/2015-03-31", "", "."])
def test_a_model_that_is_not_there_is_missing(name):
    with pytest.raises(ModelMissing):
        MODELS.get(name)


def test_the_newest_version_of_a_model_is_taken():
    assert MODELS.get("lambda").api_version == "2015-03-31"


def test_the_operations_page_counts_what_is_there_and_what_is_missing():
    async def run(call):
        return {}

    page = operations_page([Service("sts", {"GetCallerIdentity": run}), Service("logs", {})])
    total = len(MODELS.get("sts").operations)
    assert f"| [sts](#sts) | 1 | {total} | 2011-06-15 | query |" in page
    assert "Implemented (1): `GetCallerIdentity`." in page
    assert f"Missing ({total - 1}): `AssumeRole`, " in page
    assert "Implemented (0): none." in page
    assert page.index("## logs") < page.index("## sts")


def test_an_endpoint_without_services_still_answers():
    assert Rig({}).send(Request("GET", "/anything", "", {"host": "h"})).status == 403
