"""The wire form of every AWS service, from botocore's data files: recognise, parse, check, serialise, errors.

Called by `wiring` as the handler of the API port. Services register operations (`contract.py`); this room knows none of them.
`import botocore` appears nowhere here: its JSON is read as data.
"""
