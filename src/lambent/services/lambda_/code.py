"""Where a function's code can be fetched: presigned URLs on the API host, and the handler that serves them."""

import hashlib
import hmac
import re
from urllib.parse import parse_qs, urlencode
from xml.sax.saxutils import escape

from lambent.clock import Clock
from lambent.functions.code import CodeMissing, CodeStore
from lambent.functions.records import FunctionVersion
from lambent.httpd.messages import Request, Response

PATH_PREFIX = "/_lambent/code/"
#: AWS: the link is good for 10 minutes (API reference, GetFunction).
VALID_MS = 10 * 60 * 1000
_DIGEST = re.compile(r"[0-9a-f]{64}")


class CodeLinks:
    """Makes and serves links to zips. `secret` signs them: nodes that share it serve each other's links."""

    def __init__(self, code: CodeStore, clock: Clock, secret: bytes) -> None:
        self._code = code
        self._clock = clock
        # Its own key: the secret may serve other purposes too.
        self._secret = hmac.digest(secret, b"lambent code links v1", "sha256")

    def link(self, version: FunctionVersion, request: Request) -> str:
        """A URL on the host and port that the client used, good for `VALID_MS`."""
        host = request.headers.get("host", "127.0.0.1")
        expires = str(self._clock.now_ms() + VALID_MS)
        query = urlencode({"expires": expires, "signature": self._signature(version.code_digest, expires)})
        return f"{request.scheme}://{host}{PATH_PREFIX}{version.code_digest}.zip?{query}"

    async def download(self, request: Request) -> Response:
        """Serves what `link` made. Errors have S3's form, since that is what a client of AWS would meet."""
        digest = request.path.removeprefix(PATH_PREFIX).removesuffix(".zip")
        query = {name: values[0] for name, values in parse_qs(request.query).items()}
        expires, signature = query.get("expires", ""), query.get("signature", "")
        if request.method not in ("GET", "HEAD"):
            return _refusal(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")
        if not _DIGEST.fullmatch(digest) or not hmac.compare_digest(
            self._signature(digest, expires).encode(), signature.encode()
        ):
            return _refusal(403, "SignatureDoesNotMatch", "The signature of this link does not match.")
        if int(expires) < self._clock.now_ms():
            return _refusal(403, "AccessDenied", "Request has expired")
        try:
            data = await self._code.zip_bytes(digest)
        except CodeMissing:
            return _refusal(404, "NoSuchKey", "The specified key does not exist.")
        headers = [("content-type", "application/zip"), ("etag", f'"{digest}"')]
        return Response(200, data, headers)

    def _signature(self, digest: str, expires: str) -> str:
        return hmac.new(self._secret, f"{digest}\n{expires}".encode(), hashlib.sha256).hexdigest()


def _refusal(status: int, code: str, message: str) -> Response:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>'
    return Response(status, body.encode(), [("content-type", "application/xml")])
