"""The platform's own API, as one more AWS-style service: what AWS has no operation for.

`model/` is its service model in botocore's format (rest-json, signed as `lambent`), so that the same machinery parses, checks
and answers. Called by `aws`; clients are the CLI and anything that can sign a request.
"""

from pathlib import Path

#: For `Models(extra=[MODELS])`.
MODELS = Path(__file__).parent / "model"
