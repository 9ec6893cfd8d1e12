"""What commands print: tables, colours on a terminal only, JSON when asked. Results on stdout, everything else on stderr."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


class Output:
    """Prints for one command. Colours follow the terminal, NO_COLOR (no-color.org) and TERM=dumb."""

    def __init__(self, environment: Mapping[str, str], out_colour: bool, err_colour: bool) -> None:
        #: The process's environment, read once at the start of the command line.
        self.environment = environment
        self._out_colour = out_colour
        self._err_colour = err_colour

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Output":
        allowed = not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"
        return cls(environment, allowed and sys.stdout.isatty(), allowed and sys.stderr.isatty())

    def style(self, text: str, name: str, err: bool = False) -> str:
        """`text` in a style (bold, dim, red, green, yellow, cyan) where that stream is a terminal that wants it."""
        colour = self._err_colour if err else self._out_colour
        return f"\x1b[{_STYLES[name]}m{text}\x1b[0m" if colour and text else text

    def line(self, text: str = "") -> None:
        print(text, flush=True)

    def note(self, text: str) -> None:
        """For people: progress, logs, what was done. On stderr, so that a pipe gets results only."""
        print(text, file=sys.stderr, flush=True)

    def error(self, text: str) -> None:
        print(f"{self.style('lambent:', 'red', err=True)} {text}", file=sys.stderr, flush=True)

    def warn(self, text: str) -> None:
        print(f"{self.style('warning:', 'yellow', err=True)} {text}", file=sys.stderr, flush=True)

    def json(self, value: Any) -> None:
        """One line of JSON."""
        print(json.dumps(value, default=str), flush=True)

    def table(self, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Columns as wide as their widest text; the last one is not padded."""
        rows = [list(row) for row in rows]
        widths = [max(len(row[i]) for row in [list(headings), *rows]) for i in range(len(headings))]
        for number, row in enumerate([list(headings), *rows]):
            cells = [text.ljust(width) for text, width in zip(row[:-1], widths, strict=False)] + [row[-1]]
            text = "  ".join(cells).rstrip()
            self.line(self.style(text, "dim") if number == 0 else text)
