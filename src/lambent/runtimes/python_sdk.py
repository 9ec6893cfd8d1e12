"""The folder that Python functions see as /var/runtime: the guest with boto3 beside it, compiled for each interpreter.

It is made once for all data directories of an installation, in the environment that Lambent runs in; where that cannot be
written, once for each data directory. Compiling takes about three seconds an interpreter, and without it every environment that
imports boto3 pays a second. So the first-time set-up does it (`python -m lambent.runtimes.prepare`), and each start of the
platform what has come since.
"""

import contextlib
import functools
import hashlib
import importlib.metadata
import subprocess
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import Distribution
from pathlib import Path

from lambent.runtimes.folders import copy_files, digest_folder, link_distribution, link_folder, make_once
from lambent.runtimes.interpreters import Interpreter

GUEST = Path(__file__).parent / "guest" / "python"
#: boto3 and all it requires; pure Python, so one copy serves every interpreter.
PACKAGES = ("boto3", "botocore", "s3transfer", "jmespath", "python-dateutil", "urllib3", "six")
#: The oldest Python that the boto3 of today runs on.
BOTO3_MINOR = 10
_GUEST_MODULE = "_lambent_guest"
_DIGEST_LENGTH = 12
_COMPILE_SECONDS = 300


def python_caches(own: Path | None = None) -> list[Path]:
    """Where the folder may lie, best first: in the environment that Lambent runs in (a plain interpreter has no place for it),
    then in `own`.
    """
    shared = [Path(sys.prefix) / "share" / "lambent"] if sys.prefix != sys.base_prefix else []
    return shared if own is None else [*shared, own]


def prepare_python(caches: Sequence[Path]) -> Path:
    """The folder, from the first cache that has it, else made in the first that can be written. Where boto3 is not
    installed, it holds the guest alone. Raises `OSError`.
    """
    distributions = _distributions()
    packages, guest = _digests(distributions)
    name = f"python-{packages}-{guest}"
    for cache in caches:
        if (cache / name).exists():
            return cache / name
    failure = OSError("there is no place for the folder of Python functions")
    for cache in caches:
        try:
            cache.mkdir(mode=0o755, parents=True, exist_ok=True)
            fill = functools.partial(_fill, distributions, next(cache.glob(f"python-{packages}-*"), None))
            make_once(cache / name, fill)
            return cache / name
        except OSError as error:
            failure = error
    raise failure


def _fill(distributions: Iterable[Distribution], before: Path | None, folder: Path) -> None:
    """`before` is a folder with the same packages and another guest: what was compiled there need not be compiled again."""
    if before is not None:
        link_folder(before, folder, without=("bootstrap.*", f"{_GUEST_MODULE}.*"))
    else:
        for distribution in distributions:
            link_distribution(distribution, folder)
    copy_files(GUEST, folder)


def _digests(distributions: Iterable[Distribution]) -> tuple[str, str]:
    """Of the packages and of the guest."""
    packages, guest = hashlib.sha256(), hashlib.sha256()
    for distribution in distributions:
        packages.update(f"{distribution.metadata['Name']}=={distribution.version}\n".encode())
    digest_folder(guest, GUEST)
    return packages.hexdigest()[:_DIGEST_LENGTH], guest.hexdigest()[:_DIGEST_LENGTH]


def is_compiled(folder: Path, minor: int) -> bool:
    """Whether Python 3.`minor` finds everything in the folder compiled."""
    return (folder / "__pycache__" / f"{_GUEST_MODULE}.cpython-3{minor}.pyc").exists()


def compile_for(folder: Path, interpreter: Interpreter) -> str:
    """Compiles the folder for an interpreter; says what went wrong, empty when nothing did."""
    minor = int(interpreter.version.split(".")[1])
    guest = f"{_GUEST_MODULE}.py"
    packages = sorted({path.name for path in folder.iterdir()} - {guest, "__pycache__"})
    command = [interpreter.path, "-I", "-S", "-B", str(Path(__file__).with_name("compile_modules.py")), str(folder)]
    try:
        ended = subprocess.run(
            [*command, *(packages if minor >= BOTO3_MINOR else ()), guest],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_COMPILE_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if ended.returncode or not is_compiled(folder, minor):
        lines = ended.stdout.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"the compiler ended with {ended.returncode}"
    return ""


def _distributions() -> list[Distribution]:
    found = []
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(importlib.metadata.distribution(name))
    return found
