"""Which files of a folder belong into a code package: built-in rules and a `.lambentignore` in the form of .gitignore."""

import re
from typing import NamedTuple

#: What tools leave behind and no function needs. A `!pattern` in .lambentignore takes one back.
BUILT_IN = (
    ".git/",
    ".hg/",
    ".svn/",
    ".lambentignore",
    ".gitignore",
    "__pycache__/",
    "*.pyc",
    ".venv/",
    ".pytest_cache/",
    ".mypy_cache/",
    ".ruff_cache/",
    ".tox/",
    "node_modules/.cache/",
    ".npm/",
    ".DS_Store",
    ".idea/",
    ".vscode/",
    "*.swp",
)


class Rule(NamedTuple):
    """One pattern: matched against the path relative to the folder. The last rule that matches decides."""

    pattern: re.Pattern[str]
    folders_only: bool
    keeps: bool


def rules(text: str = "") -> tuple[Rule, ...]:
    """The built-in rules and then those of a .lambentignore file's text."""
    return tuple(rule for line in (*BUILT_IN, *text.splitlines()) if (rule := _rule(line)) is not None)


def is_ignored(path: str, is_folder: bool, among: tuple[Rule, ...]) -> bool:
    """Whether `path` (relative, with slashes) stays out of the package. As in git, nothing inside an ignored folder is seen."""
    ignored = False
    for rule in among:
        if (is_folder or not rule.folders_only) and rule.pattern.fullmatch(path):
            ignored = not rule.keeps
    return ignored


def _rule(line: str) -> Rule | None:
    line = line.rstrip()
    if not line or line.startswith("#"):
        return None
    keeps = line.startswith("!")
    if keeps:
        line = line[1:]
    folders_only = line.endswith("/")
    line = line.rstrip("/")
    # A slash at the start or in the middle ties the pattern to the top; without one it matches at any depth (gitignore(5)).
    anchored = "/" in line
    return Rule(re.compile(("" if anchored else "(?:.*/)?") + _translated(line.lstrip("/"))), folders_only, keeps)


def _translated(pattern: str) -> str:
    """A glob as a regular expression: `*` and `?` stay within one name, `**` crosses folders."""
    result, at = "", 0
    while at < len(pattern):
        if pattern.startswith("**/", at):
            result, at = result + "(?:.*/)?", at + 3
        elif pattern.startswith("**", at):
            result, at = result + ".*", at + 2
        elif pattern[at] == "*":
            result, at = result + "[^/]*", at + 1
        elif pattern[at] == "?":
            result, at = result + "[^/]", at + 1
        elif pattern[at] == "[" and (end := pattern.find("]", at + 2)) != -1:
            inside = pattern[at + 1 : end]
            inside = "^" + inside[1:] if inside[0] in "!^" else inside
            result, at = result + "[" + inside.replace("\\", "\\\\") + "]", end + 1
        else:
            result, at = result + re.escape(pattern[at]), at + 1
    return result
