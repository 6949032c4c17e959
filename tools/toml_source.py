# SPDX-License-Identifier: MIT OR Apache-2.0
"""TOML with line numbers: reads a file with tomllib and finds where each key stands, so that a
message can say `FILE:LINE: what is wrong; fix: how to put it right`.
"""

import difflib
import re
import tomllib


class ManifestError(Exception):
    """One or more mistakes in what the user wrote. str() is what to print, one line each."""

    def __init__(self, problems):
        super().__init__("\n".join(problems))
        self.problems = problems


class Problems:
    """Collects mistakes, so that one run of the tool shows all of them."""

    def __init__(self):
        self.lines = []

    def add(self, source, path, what, fix, item=None):
        """`path` is the key's path in the file, () for the file; `item` a text on that line or
        below it in the same value."""
        self.lines.append(f"{source.name}:{source.line(path, item)}: {what}; fix: {fix}")

    def stop_if_any(self):
        """Raises ManifestError when something was added."""
        if self.lines:
            raise ManifestError(self.lines)


def nearest(word, known):
    """" (did you mean 'x'?)", or nothing."""
    close = difflib.get_close_matches(str(word), [str(k) for k in known], n=1, cutoff=0.6)
    return f" (did you mean '{close[0]}'?)" if close else ""


_KEY = re.compile(r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=""")
_TABLE = re.compile(r"\s*\[\[?\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")


def _split_key(text):
    return tuple(
        part.strip("\"'") for part in re.findall(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""", text)
    )


def _end_of_value(line, at, state):
    """Follows strings and brackets from column `at`; state is (open quotes or "", depth)."""
    quote, depth = state
    while at < len(line):
        if quote:
            if line[at] == "\\" and quote[0] == '"':
                at += 2
                continue
            if line.startswith(quote, at):
                at += len(quote)
                quote = ""
                continue
        elif line[at] == "#":
            break
        elif line[at] in "\"'":
            quote = line[at] * 3 if line.startswith(line[at] * 3, at) else line[at]
            at += len(quote)
            continue
        elif line[at] in "[{":
            depth += 1
        elif line[at] in "]}":
            depth -= 1
        at += 1
    return (quote if len(quote) == 3 else "", max(depth, 0))


def key_lines(text):
    """Maps each key's and table's path to its 1-based line."""
    found = {}
    table = ()
    state = ("", 0)
    for number, line in enumerate(text.splitlines(), start=1):
        if state != ("", 0):
            state = _end_of_value(line, 0, state)
            continue
        header = _TABLE.match(line)
        if header:
            table = _split_key(header.group(1))
            found.setdefault(table, number)
            continue
        key = _KEY.match(line)
        if key:
            path = table + _split_key(key.group(1))
            found.setdefault(path, number)
            state = _end_of_value(line, key.end(), ("", 0))
    return found


class Source:
    """A TOML file that was read: `data`, and the line of each key."""

    def __init__(self, path, shown_as=None):
        self.path = path
        self.name = str(shown_as or path)
        try:
            self.text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ManifestError(
                [f"{self.name}:1: cannot read the file: {error.strerror}; fix: create it or correct the path"]
            ) from error
        except UnicodeDecodeError as error:
            raise ManifestError(
                [f"{self.name}:1: not UTF-8 text; fix: save the file as UTF-8"]
            ) from error
        try:
            self.data = tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as error:
            match = re.search(r"\(at (?:line (\d+), column \d+|end of document)\)", str(error))
            last = max(1, len(self.text.splitlines()))
            line = int(match.group(1)) if match and match.group(1) else last
            what = re.sub(r"\s*\(at .*\)$", "", str(error))
            raise ManifestError(
                [f"{self.name}:{line}: not TOML: {what}; fix: correct the syntax on this line"]
            ) from error
        self._lines = key_lines(self.text)

    def line(self, path, item=None):
        """The line of the key at `path`, of its nearest table where the key is absent, or of
        `item` within its value."""
        path = tuple(path)
        while path and path not in self._lines:
            below = [line for known, line in self._lines.items() if known[: len(path)] == path]
            if below:
                self._lines[path] = min(below)
            else:
                path = path[:-1]
        start = self._lines.get(path, 1)
        if item is not None:
            lines = self.text.splitlines()
            later = [n for n in self._lines.values() if n > start]
            for number in range(start, min(later, default=len(lines) + 1)):
                if f'"{item}"' in lines[number - 1] or f"'{item}'" in lines[number - 1]:
                    return number
        return start
