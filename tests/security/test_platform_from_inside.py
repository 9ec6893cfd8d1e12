"""What a deployed function tries on a whole platform, through the one way out that it has: the platform's endpoint."""

import json
from pathlib import Path

from functions_fixtures import zip_of
from platform_fixture import running_platform
from sandbox_fixtures import needs_sandboxes

CODE = """
import socket

def run(event, context):
    kept, statuses = [], []
    for _ in range(event["connections"]):
        connection = socket.create_connection(("127.0.0.1", 4566), 10)
        connection.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
        statuses.append(connection.recv(12).decode()[9:])
        kept.append(connection)
    return statuses
"""


def test_one_function_cannot_take_all_connections_of_the_platform(tmp_path: Path) -> None:
    needs_sandboxes()
    with running_platform(tmp_path, "--no-node-sdk") as platform:
        client = platform.client("lambda")
        client.create_function(
            FunctionName="greedy",
            Runtime="python3.11",
            Handler="main.run",
            Role="arn:aws:iam::000000000000:role/lambda",
            Code={"ZipFile": zip_of({"main.py": CODE})},
            Timeout=60,
        )
        answer = client.invoke(FunctionName="greedy", Payload=json.dumps({"connections": 100}))
        statuses = json.loads(answer["Payload"].read())
        assert statuses == ["403"] * 64 + ["503"] * 36
