"""Which service, operation and protocol a request is for.

In this order: the scope of its signature, the `X-Amz-Target` header, the `Action` of a form, the host, the path. The last four also
serve clients that do not sign. Nothing is refused here: what is wrong with the request goes along as `fault` and is
told after the sender has been authenticated, so that strangers learn nothing.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import unquote_plus

from lambent.aws import faults
from lambent.aws.contract import AwsError
from lambent.aws.models import OperationModel
from lambent.aws.operations import Offer
from lambent.aws.protocols.contract import Labels, Malformed
from lambent.httpd.messages import Request

#: Protocol of services that are not offered, where it cannot be told from the request.
_XML_SERVICES = frozenset({"s3", "s3express", "route53", "cloudfront"})

#: Bytes of a form in which its Action is looked for; every AWS client writes it first.
_ACTION_WITHIN = 64 * 1024

_NO_LABELS: Mapping[str, str] = {}


class Target(NamedTuple):
    """What a request is for. `operation` is None exactly when `fault` is there."""

    #: The name that the signature must be scoped to; empty when the request does not tell any service.
    service: str
    #: The region of the signature; empty for an unsigned request.
    region: str
    protocol: str
    offer: Offer | None = None
    operation: OperationModel | None = None
    labels: Labels = _NO_LABELS
    fault: AwsError | None = None


class Recogniser:
    """Decides by what is offered. The first offer of a kind wins where a request fits several."""

    def __init__(self, offers: Sequence[Offer]) -> None:
        #: Paths of REST-XML services (`/{Bucket}/{Key+}`) take nearly everything, so they are asked last.
        self._offers = sorted(offers, key=lambda offer: offer.rest == "rest-xml")
        self._by_signing_name: dict[str, list[Offer]] = {}
        self._by_target: dict[str, Offer] = {}
        for offer in self._offers:
            self._by_signing_name.setdefault(offer.model.signing_name, []).append(offer)
            if offer.model.target_prefix:
                self._by_target[offer.model.target_prefix] = offer

    def recognise(self, request: Request) -> Target:
        service, region = scope(request)
        if not service:
            return self._without_scope(request)
        offers = self._by_signing_name.get(service)
        if offers is None:
            return _not_offered(request, service, region)
        if request.headers.get("x-amz-target") is None and len(offers) == 1 and offers[0].rest:
            return _by_path(request, offers, service, region)
        return self._among(request, offers, service, region)

    def _without_scope(self, request: Request) -> Target:
        if "x-amz-target" in request.headers:
            prefix, _, _ = request.headers["x-amz-target"].rpartition(".")
            offer = self._by_target.get(prefix)
            return (
                self._among(request, [offer], offer.model.signing_name, "") if offer else _not_offered(request, "", "")
            )
        name = action(request)
        if name:
            offers = [offer for offer in self._offers if offer.speaks("query")]
            exact = [offer for offer in offers if name in offer.model.operations]
            version = _form_value(request, "Version")
            exact.sort(key=lambda offer: offer.model.api_version != version)
            if exact:
                return _by_action(name, exact[0], exact[0].model.signing_name, "")
            return _not_offered(request, "", "")
        host = request.headers.get("host", "").partition(".")[0]
        of_host = [offer for offer in self._offers if host in (offer.model.endpoint_prefix, offer.model.signing_name)]
        offers = of_host or [offer for offer in self._offers if offer.rest]
        return (
            self._among(request, offers, offers[0].model.signing_name if of_host else "", "")
            if offers
            else (_not_offered(request, "", ""))
        )

    def _among(self, request: Request, offers: list[Offer], service: str, region: str) -> Target:
        """One of `offers`, which share a signing name (or are all there is, for an unsigned request)."""
        target = request.headers.get("x-amz-target")
        if target is not None:
            return _by_target(target, offers, service, region)
        if _is_cbor(request):
            return _cbor(offers[0], service, region)
        name = action(request)
        if name:
            for offer in offers:
                if offer.speaks("query"):
                    return _by_action(name, offer, service, region)
        return _by_path(request, offers, service, region)


def scope(request: Request) -> tuple[str, str]:
    """Service and region of the signature's scope, unverified; empty for a request that is not signed."""
    text = request.headers.get("authorization")
    if text is not None:
        end = text.find("/aws4_request")
        if end < 0:
            return "", ""
        parts = text[:end].rsplit("/", 2)
        return (parts[2], parts[1]) if len(parts) == 3 else ("", "")
    query = request.query
    if query and "X-Amz-Credential=" in query:
        credential = unquote_plus(query.partition("X-Amz-Credential=")[2].partition("&")[0])
        parts = credential.rsplit("/", 4)
        if len(parts) == 5:
            return parts[3], parts[2]
    return "", ""


def action(request: Request) -> str:
    """The Action of a query request, or empty."""
    if request.body and not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return ""
    return _form_value(request, "Action")


def _form_value(request: Request, name: str) -> str:
    form = request.body[:_ACTION_WITHIN].decode("latin-1") if request.body else request.query
    start = 0 if form.startswith(f"{name}=") else form.find(f"&{name}=") + 1
    if start == 0 and not form.startswith(f"{name}="):
        return ""
    return unquote_plus(form[start + len(name) + 1 :].partition("&")[0])


def _is_cbor(request: Request) -> bool:
    return "smithy-protocol" in request.headers or request.headers.get("content-type", "") == "application/cbor"


def _cbor(offer: Offer, service: str, region: str) -> Target:
    spoken = "json" if offer.speaks("json") else offer.model.protocol
    fault = AwsError(
        "UnsupportedProtocolException",
        f"The protocol smithy-rpc-v2-cbor is not spoken here; use {spoken} for {offer.model.name}.",
        415,
    )
    return Target(service, region, "json", fault=fault)


def _by_target(target: str, offers: list[Offer], service: str, region: str) -> Target:
    prefix, _, name = target.rpartition(".")
    for offer in offers:
        if offer.model.target_prefix == prefix and offer.speaks("json"):
            operation = offer.model.operations.get(name)
            if operation is not None:
                return Target(service, region, "json", offer, operation)
            return Target(service, region, "json", offer, fault=faults.unknown_operation(target, "json", offer.model))
    return Target(service, region, "json", fault=faults.unknown_operation(target, "json", None))


def _by_action(name: str, offer: Offer, service: str, region: str) -> Target:
    operation = offer.model.operations.get(name)
    if operation is not None:
        return Target(service, region, "query", offer, operation)
    return Target(service, region, "query", offer, fault=faults.unknown_operation(name, "query", offer.model))


def _by_path(request: Request, offers: list[Offer], service: str, region: str) -> Target:
    for offer in offers:
        if not offer.rest:
            continue
        try:
            match = offer.routes.match(request.method, request.path, request.query, request.headers)
        except Malformed as error:
            return Target(service, region, offer.rest, offer, fault=faults.malformed(str(error), offer.rest))
        if match is not None:
            return Target(service or offer.model.signing_name, region, offer.rest, offer, match[0], match[1])
    offer = offers[0]
    protocol = offer.rest or ("query" if offer.speaks("query") else "json")
    what = f"{request.method} {request.path}"
    return Target(service, region, protocol, offer, fault=faults.unknown_operation(what, protocol, offer.model))


def _not_offered(request: Request, service: str, region: str) -> Target:
    """A service that is not offered, named as far as the request names it, in the form that its client most likely reads."""
    target = request.headers.get("x-amz-target")
    if target is not None:
        return Target(
            service, region, "json", fault=faults.not_implemented(service or target, target if service else "", "json")
        )
    name = action(request)
    if name:
        return Target(service, region, "query", fault=faults.not_implemented(service or "the Action", name, "query"))
    protocol = "rest-xml" if service in _XML_SERVICES else "rest-json"
    if not service:
        what = f"{request.method} {request.path}"
        return Target("", region, protocol, fault=faults.unknown_operation(what, protocol, None))
    return Target(service, region, protocol, fault=faults.not_implemented(service, "", protocol))
