"""Records of functions. Frozen: a change is a new record written with compare-and-set."""

import msgspec

from lambent.arn import LATEST, function_arn


class FunctionVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a function: `$LATEST`, or a number and then immutable."""

    account: str
    region: str
    name: str
    version: str = LATEST
    runtime: str
    handler: str
    role: str
    description: str = ""
    memory_mb: int = 128
    timeout_s: int = 3
    tmp_mb: int = 512
    variables: dict[str, str] = {}
    architectures: tuple[str, ...] = ("x86_64",)
    #: SHA-256 of the zip: hex names the blob and the unpacked folder; AWS's CodeSha256 is the same digest in base64.
    code_digest: str
    code_size: int
    #: A UUID that changes with every change of the record.
    revision_id: str
    #: Unix milliseconds.
    last_modified_ms: int
    log_group: str

    @property
    def arn(self) -> str:
        """Qualified with the version, unless it is `$LATEST`."""
        return function_arn(self.region, self.account, self.name, None if self.version == LATEST else self.version)

    @property
    def key(self) -> str:
        """Names this exact content: environments with another key serve another version or an older revision."""
        return f"{self.account}/{self.region}/{self.name}/{self.version}/{self.revision_id}"

    @property
    def content(self) -> "FunctionVersion":
        """The version without what a publication or a mere rewrite changes: equal contents need no new version."""
        return msgspec.structs.replace(self, version=LATEST, revision_id="", last_modified_ms=0)


class FunctionEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What belongs to the function as a whole, and its `$LATEST`, so that every change is one conditional write.

    The record outlives the function, because version numbers are never reused (Lambda developer guide, "Lambda function
    versions"): of a deleted function it keeps only `next_version`.
    """

    account: str
    region: str
    name: str
    #: `$LATEST`, or None when the function was deleted.
    latest: FunctionVersion | None
    created_ms: int
    #: Number that the next published version gets; never reused, also after deletions.
    next_version: int = 1
    #: The first number of this life of the function: lower ones belong to a deleted predecessor.
    first_version: int = 1
    tags: dict[str, str] = {}
    #: What the last publication published, and under which number: publishing the same again makes no new version.
    published: FunctionVersion | None = None
    published_version: str = ""
