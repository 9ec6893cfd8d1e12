"""Answers an HTTP request (payload format 2.0) with what arrived.

`?status=418` sets the status, `?binary=1` answers with bytes, `?cookie=a=b` sets a cookie.
https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html
"""

import base64
import json


def handler(event, context):
    query = event.get("queryStringParameters") or {}
    answer = {
        "statusCode": int(query.get("status", 200)),
        "headers": {"content-type": "application/json", "x-request-id": context.aws_request_id},
        "body": json.dumps(described(event)),
    }
    if "cookie" in query:
        answer["cookies"] = [query["cookie"]]
    if "binary" in query:
        answer["headers"]["content-type"] = "application/octet-stream"
        answer["body"] = base64.b64encode(bytes(range(256))).decode()
        answer["isBase64Encoded"] = True
    return answer


def described(event):
    http = event.get("requestContext", {}).get("http", {})
    return {
        "method": http.get("method"),
        "path": event.get("rawPath"),
        "query": event.get("rawQueryString"),
        "headers": event.get("headers", {}),
        "cookies": event.get("cookies", []),
        "body": event.get("body"),
        "isBase64Encoded": event.get("isBase64Encoded", False),
    }
