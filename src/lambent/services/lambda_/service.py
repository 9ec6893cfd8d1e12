"""The Lambda service: its parts built, its operations in a table."""

import platform
from collections.abc import Callable

from lambent.aws.contract import Operation, Service, answering
from lambent.clock import Clock
from lambent.functions.store import FunctionStore
from lambent.httpd.messages import Request, Response
from lambent.ids import Ids
from lambent.runtimes.contract import Runtime
from lambent.services.lambda_.account import Account
from lambent.services.lambda_.code import PATH_PREFIX, CodeLinks
from lambent.services.lambda_.faults import fault_of
from lambent.services.lambda_.functions import Functions, RoleTrusts
from lambent.services.lambda_.invoke import Enqueue, Invocations, Run
from lambent.services.lambda_.tags import Tags
from lambent.services.lambda_.versions import Versions
from lambent.settings import Settings

_ARCHITECTURES = {"aarch64": "arm64", "arm64": "arm64"}


class LambdaService:
    """The Lambda API on a function store.

    `runtimes` finds a runtime by AWS's identifier and raises a `LambentError` that says why there is none; `run` runs a
    call; `enqueue` stores an asynchronous one durably; `role_trusts` tells whether a stored role trusts a service (None:
    no such role here); `link_secret` signs code locations, random when not given.
    """

    #: Requests of this path prefix go to `code_download`, unsigned: the link is the permission.
    code_path_prefix = PATH_PREFIX

    def __init__(
        self,
        store: FunctionStore,
        runtimes: Callable[[str], Runtime],
        run: Run,
        enqueue: Enqueue,
        settings: Settings,
        clock: Clock,
        ids: Ids,
        *,
        role_trusts: RoleTrusts = lambda role_arn, service: None,
        link_secret: bytes | None = None,
        architecture: str = "",
    ) -> None:
        host = architecture or _ARCHITECTURES.get(platform.machine(), "x86_64")
        self._links = CodeLinks(store.code, clock, link_secret or ids.secret().encode())
        self._functions = Functions(store, runtimes, role_trusts, self._links, settings, host)
        self._versions = Versions(store)
        self._invocations = Invocations(store, run, enqueue, settings, clock, ids)
        self._tags = Tags(store)
        self._account = Account(store, settings)

    async def code_download(self, request: Request) -> Response:
        """Serves the code locations that GetFunction gives."""
        return await self._links.download(request)

    def service(self) -> Service:
        operations: dict[str, Operation] = {
            "CreateFunction": self._functions.create_function,
            "UpdateFunctionCode": self._functions.update_function_code,
            "UpdateFunctionConfiguration": self._functions.update_function_configuration,
            "GetFunction": self._functions.get_function,
            "GetFunctionConfiguration": self._functions.get_function_configuration,
            "ListFunctions": self._functions.list_functions,
            "DeleteFunction": self._functions.delete_function,
            "Invoke": self._invocations.invoke,
            "PublishVersion": self._versions.publish_version,
            "ListVersionsByFunction": self._versions.list_versions_by_function,
            "TagResource": self._tags.tag_resource,
            "UntagResource": self._tags.untag_resource,
            "ListTags": self._tags.list_tags,
            "GetAccountSettings": self._account.get_account_settings,
        }
        return Service("lambda", answering(operations, fault_of))
