"""boto3 against the platform, for the demo only: the commands themselves do without it, because it starts slowly."""

import json
from typing import Any

from lambent.cli.endpoint import Endpoint
from lambent.errors import LambentError


class InvokeFailed(LambentError):
    """The call was refused, or the function failed."""


class BotoInvoker:
    """What a user's own program would do with boto3 and an endpoint URL."""

    def __init__(self, endpoint: Endpoint) -> None:
        import boto3
        from botocore.config import Config

        self._client = boto3.session.Session().client(
            "lambda",
            endpoint_url=endpoint.api_url,
            region_name=endpoint.region,
            aws_access_key_id=endpoint.access_key_id,
            aws_secret_access_key=endpoint.secret_access_key,
            config=Config(retries={"total_max_attempts": 1}),
        )

    def invoke(self, name: str, event: Any) -> Any:
        """The function's result. Raises `InvokeFailed` when it, or the call, failed."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = self._client.invoke(FunctionName=name, Payload=json.dumps(event).encode())
            payload = json.loads(answer["Payload"].read())
        except (BotoCoreError, ClientError, ValueError) as error:
            raise InvokeFailed(f"the step 'invoke {name}' failed: {error}") from error
        if "FunctionError" in answer:
            raise InvokeFailed(f"the step 'invoke {name}' failed: the function answered {payload}")
        return payload
