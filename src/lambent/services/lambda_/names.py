"""Which function a call means: names, partial and full ARNs, qualifiers."""

import re
from typing import NamedTuple

from lambent.arn import LATEST, function_arn, parse_function_name
from lambent.aws.contract import Call
from lambent.services.lambda_.faults import OtherAccount, OtherRegion, OutOfRange, ParameterRefused

NAME_MAX = 64
_FUNCTION_ARN = re.compile(r"arn:aws[a-zA-Z-]*:lambda:([a-z0-9-]+):(\d{12}):([a-z-]+):(.+)")


class Named(NamedTuple):
    account: str
    region: str
    name: str
    qualifier: str | None

    @property
    def place(self) -> tuple[str, str, str]:
        """What the function store asks for."""
        return self.account, self.region, self.name


def named(call: Call) -> Named:
    """The function that the call's FunctionName and Qualifier mean. Raises what `faults.py` knows."""
    text = call.params["FunctionName"]
    asked = parse_function_name(text)
    if asked.region is not None and asked.region != call.region:
        raise OtherRegion(asked.region, call.region)
    qualifier = call.params.get("Qualifier")
    if asked.qualifier is not None and qualifier is not None and asked.qualifier != qualifier:
        raise ParameterRefused("The derived qualifier from the function name does not match the specified qualifier.")
    found = Named(call.account, call.region, asked.name, qualifier or asked.qualifier)
    if asked.account is not None and asked.account != call.account:
        arn = function_arn(call.region, asked.account, asked.name, found.qualifier)
        raise OtherAccount(call.identity.arn, call.operation, arn)
    return found


def named_unqualified(call: Call) -> Named:
    """For operations on the function as a whole: a qualifier is allowed only if it is `$LATEST`."""
    found = named(call)
    if found.qualifier not in (None, LATEST):
        raise ParameterRefused(
            f"{call.operation} changes only $LATEST: leave the qualifier {found.qualifier!r} out of the function's name."
        )
    return found


def new_name(call: Call) -> str:
    """The name of a function that is to be made."""
    found = named_unqualified(call)
    if len(found.name) > NAME_MAX:
        raise OutOfRange(found.name, "functionName", f"Member must have length less than or equal to {NAME_MAX}")
    return found.name


def tagged_function(call: Call) -> Named:
    """The function whose ARN is the call's Resource. Other kinds of resources do not exist here yet."""
    match = _FUNCTION_ARN.fullmatch(call.params["Resource"])
    if match is None:
        raise ParameterRefused(f"The resource {call.params['Resource'][:200]!r} is not the ARN of a function.")
    region, account, kind, rest = match.groups()
    if kind != "function":
        raise ParameterRefused(f"Resources of the kind {kind!r} are not supported by this Lambent installation.")
    if region != call.region:
        raise OtherRegion(region, call.region)
    if account != call.account:
        raise OtherAccount(call.identity.arn, call.operation, call.params["Resource"])
    name, _, qualifier = rest.partition(":")
    if qualifier:
        raise ParameterRefused(
            "Tags on function aliases and versions are not supported. Please specify a function ARN."
        )
    return Named(account, region, name, None)
