"""Guessing runtime and handler from a package's files."""

import pytest

from lambent.cli.guess import CannotGuess, Guess, guess, identifier


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"bootstrap": "", "app.py": "def handler(e, c): ..."}, Guess("provided", "bootstrap")),
        ({"lambda_function.py": "def lambda_handler(e, c): ..."}, Guess("python", "lambda_function.lambda_handler")),
        ({"app.py": "def helper(): ...\ndef handler(e, c): ..."}, Guess("python", "app.handler")),
        ({"app.py": "def greet(e, c): ..."}, Guess("python", "app.greet")),
        ({"app.py": "handler = make()"}, Guess("python", "app.handler")),
        ({"app.py": "def (:"}, Guess("python", "app.lambda_handler")),
        ({"only.py": "def main(e, c): ..."}, Guess("python", "only.main")),
        ({"lib/util.py": "", "main.py": "async def handler(e, c): ..."}, Guess("python", "main.handler")),
        ({"index.mjs": "export const handler = async () => 1"}, Guess("nodejs", "index.handler")),
        ({"index.js": "exports.lambdaHandler = () => 1"}, Guess("nodejs", "index.lambdaHandler")),
        ({"index.js": "module.exports.handler = f"}, Guess("nodejs", "index.handler")),
        ({"index.mjs": "export async function main(event) {}"}, Guess("nodejs", "index.main")),
        (
            {"package.json": '{"main": "./dist/app.js"}', "dist/app.js": "exports.handler = 1", "index.js": ""},
            Guess("nodejs", "dist/app.handler"),
        ),
        (
            {"package.json": '{"main": "src/app"}', "src/app.js": "exports.handler = 1"},
            Guess("nodejs", "src/app.handler"),
        ),
        ({"package.json": "not json", "index.js": ""}, Guess("nodejs", "index.handler")),
        ({"package.json": "[]", "index.js": ""}, Guess("nodejs", "index.handler")),
    ],
)
def test_a_package_tells_its_runtime_and_handler(files: dict[str, str], expected: Guess) -> None:
    assert guess(files, files.__getitem__) == expected


@pytest.mark.parametrize("files", [{}, {"a.py": "", "b.py": ""}, {"readme.txt": ""}, {"sub/bootstrap": ""}])
def test_a_package_that_tells_nothing_is_refused_with_what_to_write(files: dict[str, str]) -> None:
    with pytest.raises(CannotGuess, match="--runtime"):
        guess(files, files.__getitem__)


def rows(*items: tuple[str, str, str]) -> list[dict[str, str]]:
    return [{"Identifier": i, "Note": note, "Unavailable": missing} for i, note, missing in items]


@pytest.mark.parametrize(
    ("family", "runtimes", "expected"),
    [
        ("provided", [], "provided.al2023"),
        ("python", rows(("python3.9", "", ""), ("python3.11", "", ""), ("python3.13", "by 3.11", "")), "python3.11"),
        ("python", rows(("python3.9", "by 3.11", ""), ("python3.13", "by 3.11", "")), "python3.13"),
        ("nodejs", rows(("nodejs22.x", "by 24", ""), ("nodejs24.x", "", ""), ("python3.11", "", "")), "nodejs24.x"),
        ("nodejs", rows(("nodejs22.x", "", ""), ("nodejs24.x", "", "no Node")), "nodejs22.x"),
    ],
)
def test_the_newest_identifier_that_is_really_here_is_taken(
    family: str, runtimes: list[dict[str, str]], expected: str
) -> None:
    assert identifier(family, runtimes) == expected


def test_no_usable_identifier_is_refused_with_the_reason() -> None:
    with pytest.raises(CannotGuess, match="install Node"):
        identifier("nodejs", rows(("nodejs22.x", "", "install Node")))
