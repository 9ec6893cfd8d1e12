"""The text of `docs/reference/operations.md`, made from the services' tables and AWS's own models."""

from collections.abc import Sequence
from pathlib import Path

from lambent.aws.contract import Service
from lambent.aws.models import Models, ServiceModel

_HEAD = """\
# Operations of the AWS API

This page is generated from the services' tables; do not edit it. An operation that is listed as missing answers with AWS's
error form, HTTP status 501, the code `NotImplementedException` (`NotImplemented` from the services that answer in XML) and its name.
A name that AWS does not have either answers as AWS does (`UnknownOperationException`, `InvalidAction`).
"""


def operations_page(services: Sequence[Service], extra_models: Sequence[Path] = ()) -> str:
    """Markdown: a table of the services with counts, then for each what is implemented and what is not."""
    models = Models(extra_models)
    rows = [(models.get(service.model), frozenset(service.operations)) for service in services]
    rows.sort(key=lambda row: row[0].name)
    pieces = [_HEAD, "| Service | Implemented | Of | API version | Protocols |\n|---|---:|---:|---|---|"]
    for model, done in rows:
        pieces.append(
            f"| [{model.name}](#{model.name}) | {len(done)} | {len(model.operations)}"
            f" | {model.api_version} | {', '.join(_spoken(model))} |"
        )
    for model, done in rows:
        missing = sorted(set(model.operations) - done)
        pieces.append(f"\n## {model.name}\n")
        pieces.append(f"Implemented ({len(done)}): {_names(sorted(done))}\n")
        pieces.append(f"Missing ({len(missing)}): {_names(missing)}")
    return "\n".join(pieces) + "\n"


def _names(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) + "." if names else "none."


def _spoken(model: ServiceModel) -> list[str]:
    return [name for name in model.protocols if not name.endswith("cbor")]
