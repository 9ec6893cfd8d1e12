"""The wire's own refusals, under the codes that AWS's services of each protocol use for them.

Sources: the "Common errors" pages of the services' API references; recorded answers where they differ (named below).
"""

from lambent.access.contract import NotAuthenticated
from lambent.aws.contract import AwsError
from lambent.aws.models import ServiceModel

#: Names of the JSON services (json and rest-json) for what the query services call otherwise. Recorded: Lambda
#: "InvalidSignatureException: Signature expired: …" (pulumi-aws issue 55), CloudWatch Logs and Lambda
#: "UnrecognizedClientException: The security token included in the request is invalid." (HTTP 400 from json, 403 from
#: rest-json services: iamlive issue 58), Cloud9 "IncompleteSignatureException".
_JSON_NAMES = {
    "SignatureDoesNotMatch": "InvalidSignatureException",
    "InvalidClientTokenId": "UnrecognizedClientException",
    "ExpiredToken": "ExpiredTokenException",
    "IncompleteSignature": "IncompleteSignatureException",
    "MissingAuthenticationToken": "MissingAuthenticationTokenException",
    "NotImplemented": "NotImplementedException",
}
#: S3's names ("Error responses" of its API reference).
_S3_NAMES = {
    "InvalidClientTokenId": "InvalidAccessKeyId",
    "IncompleteSignature": "AuthorizationHeaderMalformed",
    "MissingAuthenticationToken": "AccessDenied",
}


def not_authenticated(error: NotAuthenticated, protocol: str, service: str) -> AwsError:
    """The refusal as the service that was called would name it."""
    code, status = error.code, error.status
    if protocol in ("json", "rest-json"):
        code = _JSON_NAMES.get(code, code)
        if protocol == "json" and status == 403:
            status = 400
    elif service == "s3":
        code = _S3_NAMES.get(code, code)
    return AwsError(code, str(error), status)


def wrong_region(given: str, protocol: str, service: str) -> AwsError:
    """A signature for another region than this installation's."""
    error = NotAuthenticated(
        "SignatureDoesNotMatch", f"Credential should be scoped to a valid region, not '{given[:64]}'."
    )
    return not_authenticated(error, protocol, service)


def malformed(message: str, protocol: str) -> AwsError:
    """A body, header or query string that cannot be read."""
    if protocol == "query":
        return AwsError("MalformedInput", message, 400)
    if protocol == "rest-xml":
        return AwsError("MalformedXML", message, 400)
    return AwsError("SerializationException", message, 400)


#: Services whose model checks answer with a code of their own. CloudWatch Logs: "InvalidParameterException: 1 validation error
#: detected: Value '…' at 'logGroupName' failed to satisfy constraint: …" (recorded in many of its users' issues).
_VALIDATION_CODES = {"logs": "InvalidParameterException"}


def invalid(message: str, protocol: str, service: str) -> AwsError:
    """A parameter that the model does not allow. Lambda: `ValidationException` (aws-cli issue 3229, sidecar issue 147);
    IAM and STS: `ValidationError`.
    """
    usual = "ValidationError" if protocol == "query" else "ValidationException"
    return AwsError(_VALIDATION_CODES.get(service, usual), message, 400)


def unknown_operation(name: str, protocol: str, model: ServiceModel | None) -> AwsError:
    """There is no such operation in the service's model. `name` is what the request asked for."""
    name = name[:128]
    if protocol == "query":
        version = f" for version {model.api_version}" if model else ""
        return AwsError("InvalidAction", f"Could not find operation {name}{version}", 400)
    if protocol == "rest-xml":
        return AwsError("MethodNotAllowed", f"There is no operation for {name}.", 405)
    of = f" in {model.name}" if model else ""
    return AwsError("UnknownOperationException", f"There is no operation for {name}{of}.", 404)


def not_implemented(service: str, operation: str, protocol: str) -> AwsError:
    """AWS has the operation and Lambent does not. 501 is a status that no AWS client retries."""
    code = "NotImplemented" if protocol in ("query", "rest-xml") else "NotImplementedException"
    what = f"the operation {operation} of {service}" if operation else f"the service {service[:64]}"
    return AwsError(
        code, f"Lambent does not implement {what}. docs/reference/operations.md lists what it implements.", 501
    )


def internal(protocol: str) -> AwsError:
    """A mistake of ours; what went wrong is in the log, under the request id, and nowhere else."""
    code = {"rest-json": "ServiceException", "rest-xml": "InternalError", "json": "InternalServerError"}.get(
        protocol, "InternalFailure"
    )
    return AwsError(code, "An internal error occurred. The log has it under the request id.", 500)


def unavailable(message: str, protocol: str) -> AwsError:
    """A part of Lambent that the call needs is not there right now. AWS's clients try again on 503."""
    code = "ServiceUnavailableException" if protocol in ("json", "rest-json") else "ServiceUnavailable"
    return AwsError(code, message, 503)
