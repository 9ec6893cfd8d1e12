"""Greets. The name comes from the event, or from `?name=` when the function is called over HTTP."""


def lambda_handler(event, context):
    name = name_in(event)
    print(f"greeting {name or 'nobody in particular'}")
    return f"hello {name}" if name else "hello"


def name_in(event):
    if not isinstance(event, dict):
        return ""
    query = event.get("queryStringParameters") or {}
    return event.get("name") or query.get("name") or ""
