"""The AWS API as one handler: recognise, authenticate, authorise, parse, check, run, serialise.

`handle` reads top to bottom as a request passes through it. It never raises: an expected refusal is answered in the form that the
client of that protocol reads, a mistake of ours with 500, a request id and nothing else, and the log has the rest.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from lambent.access.contract import Authenticator, NotAuthenticated
from lambent.aws import faults
from lambent.aws.checks import validation_message
from lambent.aws.contract import AwsError, Call, Service
from lambent.aws.models import Models, ServiceModel
from lambent.aws.operations import Offer
from lambent.aws.protocols.contract import Malformed, WireProtocol
from lambent.aws.protocols.json_rpc import JsonRpc
from lambent.aws.protocols.query_rpc import QueryRpc
from lambent.aws.protocols.rest_json import RestJson
from lambent.aws.protocols.rest_xml import RestXml
from lambent.aws.recognise import Recogniser, Target
from lambent.clock import Clock
from lambent.errors import NotReady
from lambent.httpd.messages import Request, Response
from lambent.ids import Ids

_log = logging.getLogger("lambent.aws")

HEALTH_PATH = "/_lambent/health"

#: Decides whether a call may be made: (model name of the service, call). Raises `AwsError` to refuse.
Authorise = Callable[[str, Call], None]

#: The region that clients of services with a single endpoint sign for, wherever they are.
_GLOBAL_REGION = "us-east-1"


class Endpoint:
    """The handler of the API port.

    `extra_models` are folders with models of services that AWS does not have, laid out as botocore's data. `any_region` accepts
    signatures for every region (an open installation); else they must be for `region`.
    """

    def __init__(
        self,
        services: Sequence[Service],
        authenticator: Authenticator,
        *,
        region: str,
        ids: Ids,
        clock: Clock,
        extra_models: Sequence[Path] = (),
        authorise: Authorise | None = None,
        any_region: bool = False,
    ) -> None:
        models = Models(extra_models)
        self._recogniser = Recogniser([Offer(models.get(service.model), service.operations) for service in services])
        self._authenticator = authenticator
        self._authorise = authorise
        self._region = region
        self._any_region = any_region
        self._ids = ids
        self._clock = clock
        #: For answers to requests that no offered service can be told from.
        self._stateless: dict[str, WireProtocol] = {
            "rest-json": RestJson(),
            "json": JsonRpc("1.1"),
            "query": QueryRpc(""),
            "rest-xml": RestXml("", bare_errors=True),
        }

    async def handle(self, request: Request) -> Response:
        request_id = self._ids.uuid()
        if request.path == HEALTH_PATH:
            return Response(
                200, b'{"status":"ok"}', [("x-amzn-RequestId", request_id), ("Content-Type", "application/json")]
            )
        target = Target("", "", "rest-json")
        try:
            target = self._recogniser.recognise(request)
            return await self._answer(request, target, request_id)
        except AwsError as error:
            return self._refuse(target, error, request_id)
        except NotAuthenticated as error:
            return self._refuse(target, faults.not_authenticated(error, target.protocol, target.service), request_id)
        except Malformed as error:
            return self._refuse(target, faults.malformed(str(error), target.protocol), request_id)
        except NotReady as error:
            return self._refuse(target, faults.unavailable(str(error), target.protocol), request_id)
        except Exception:
            return self._fail(request, target, request_id)

    async def _answer(self, request: Request, target: Target, request_id: str) -> Response:
        identity = self._authenticator.authenticate(request, target.service)
        offer, operation = target.offer, target.operation
        if target.region != self._region and target.region:
            self._check_region(target)
        if operation is None or offer is None:
            raise target.fault or faults.internal(target.protocol)
        compiled = offer.compiled(target.protocol, operation)
        if compiled is None:
            raise faults.not_implemented(offer.model.name, operation.name, target.protocol)
        params = compiled.parse(request, target.labels)
        call = Call(compiled.name, params, identity, self._region, request_id, request)
        if self._authorise is not None:
            self._authorise(offer.model.name, call)
        if compiled.check is not None:
            found: list[str] = []
            compiled.check(params, "", found)
            if found:
                raise faults.invalid(validation_message(found), target.protocol, offer.model.name)
        output = await compiled.run(call)
        return compiled.serialise(output, request_id)

    def _check_region(self, target: Target) -> None:
        if self._any_region:
            return
        if target.region == _GLOBAL_REGION and (target.offer is None or target.offer.model.is_global):
            return
        raise faults.wrong_region(target.region, target.protocol, target.service)

    def _refuse(self, target: Target, error: AwsError, request_id: str) -> Response:
        model: ServiceModel | None = None
        wire = self._stateless[target.protocol]
        try:
            if target.offer is not None:
                model, wire = target.offer.model, target.offer.protocol(target.protocol)
            return wire.error(model, error, request_id)
        except Exception:
            _log.exception("request %s: the error %s could not be written", request_id, error.code)
            return wire.error(None, faults.internal(target.protocol), request_id)

    def _fail(self, request: Request, target: Target, request_id: str) -> Response:
        service = target.offer.model.name if target.offer else target.service
        operation = target.operation.name if target.operation else f"{request.method} {request.path}"
        _log.exception("request %s: %s %s failed", request_id, service, operation)
        return self._refuse(target, faults.internal(target.protocol), request_id)
