"""Invokes another function. boto3 finds the platform and this function's own credentials in the environment."""

import json
import os

import boto3

# Made once for each environment, not for each call.
client = boto3.client("lambda")


def handler(event, context):
    target = os.environ.get("TARGET", "hello-python")
    answer = client.invoke(FunctionName=target, Payload=json.dumps(event).encode())
    return {"asked": target, "answered": json.loads(answer["Payload"].read())}
