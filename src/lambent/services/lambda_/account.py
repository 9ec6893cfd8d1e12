"""GetAccountSettings."""

from collections.abc import Mapping
from typing import Any

from lambent.aws.contract import Call
from lambent.functions.store import FunctionStore
from lambent.settings import Settings


class Account:
    """The operation on the account: its limits here and what it uses of them."""

    def __init__(self, store: FunctionStore, settings: Settings) -> None:
        self._store = store
        self._settings = settings

    async def get_account_settings(self, call: Call) -> Mapping[str, Any]:
        return {
            "AccountLimit": {
                "TotalCodeSize": self._settings.code_storage_max,
                "CodeSizeUnzipped": self._settings.package_unzipped_max,
                "CodeSizeZipped": self._settings.package_zip_max,
                "ConcurrentExecutions": self._settings.account_concurrency,
                "UnreservedConcurrentExecutions": self._settings.account_concurrency,
            },
            "AccountUsage": {
                "TotalCodeSize": self._store.code_bytes(call.account, call.region),
                "FunctionCount": len(self._store.latest_versions(call.account, call.region)),
            },
        }
