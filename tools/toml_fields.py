# SPDX-License-Identifier: MIT OR Apache-2.0
"""Checks the keys of a TOML table against a table of fields: kind, limits, default."""

import re
from dataclasses import dataclass

import layout
from toml_source import nearest

REQUIRED = object()
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
NAME = re.compile(r"[a-z][a-z0-9_-]*\Z")


@dataclass
class Field:
    """One key of a table: its kind and limits."""

    kind: str  # name, text, int, ints, size, bool, choice, names, texts
    default: object = REQUIRED
    low: int = 0
    high: int = 0
    multiple: int = 1
    power_of_two: bool = False
    choices: tuple = ()
    longest: int = layout.SYSTEM_NAME_BYTES - 1


class Reader:
    """Reads the tables of one file, adding what is wrong to `problems`."""

    def __init__(self, source, problems):
        self.source = source
        self.problems = problems

    def add(self, path, what, fix, item=None):
        """Notes a mistake at the key `path`."""
        self.problems.add(self.source, path, what, fix, item)

    def unknown(self, path, table, known):
        """Refuses keys that mean nothing."""
        for key in table:
            if key not in known:
                self.add(
                    path + (key,),
                    f"unknown key '{key}'{nearest(key, known)}",
                    f"use one of: {', '.join(known)}",
                )

    def subtable(self, parent, path, key):
        """The table `key` of `parent`, {} if absent or wrong."""
        value = parent.get(key, {})
        if not isinstance(value, dict):
            self.add(path + (key,), f"'{key}' must be a table", f"write a [{key}] table")
            return {}
        return value

    def fields(self, table, path, known):
        """All fields of one table; None stands for one that was wrong."""
        self.unknown(path, table, known)
        out = {}
        for key, spec in known.items():
            if key in table:
                out[key] = self.value(path + (key,), table[key], spec)
            elif spec.default is REQUIRED:
                where = f"[{'.'.join(path)}]" if path else "the top of the file"
                self.add(path, f"missing key '{key}' in {where}", f"add {key} = {_example(spec)}")
                out[key] = None
            else:
                out[key] = spec.default
        return out

    def value(self, path, value, spec):
        """`value` checked against `spec`, or None after noting why not."""
        reader = getattr(self, "_" + spec.kind)
        return reader(path, value, spec)

    def _wrong_type(self, path, value, wanted, spec):
        found = {bool: "a boolean", int: "a number", str: "text", list: "a list", dict: "a table"}
        self.add(
            path,
            f"'{path[-1]}' is {found.get(type(value), 'a ' + type(value).__name__)}, not {wanted}",
            f"write {path[-1]} = {_example(spec)}",
        )

    def _bool(self, path, value, spec):
        if isinstance(value, bool):
            return value
        return self._wrong_type(path, value, "true or false", spec)

    def _name(self, path, value, spec):
        if not isinstance(value, str):
            return self._wrong_type(path, value, "a name", spec)
        return value if self.check_name(path, value, spec.longest) else None

    def check_name(self, path, value, longest=layout.SYSTEM_NAME_BYTES - 1):
        """Whether `value` may name something; notes why not."""
        if not NAME.match(value):
            self.add(
                path,
                f"'{value}' is not a name",
                "use lower-case letters, digits, '-' and '_', starting with a letter",
                value,
            )
            return False
        if len(value) > longest:
            self.add(
                path,
                f"name '{value}' has {len(value)} characters, more than {longest}",
                "shorten it",
                value,
            )
            return False
        return True

    def _choice(self, path, value, spec):
        if not isinstance(value, str):
            return self._wrong_type(path, value, "text", spec)
        if value in spec.choices:
            return value
        return self.add(
            path,
            f"'{value}' is no {path[-1]}{nearest(value, spec.choices)}",
            f"use one of: {', '.join(spec.choices)}",
        )

    def _int(self, path, value, spec):
        if isinstance(value, bool) or not isinstance(value, int):
            return self._wrong_type(path, value, "a whole number", spec)
        return self._limits(path, value, spec)

    def _ints(self, path, value, spec):
        if not isinstance(value, list) or not all(type(item) is int for item in value):
            return self._wrong_type(path, value, "a list of whole numbers", spec)
        wrong = [item for item in value if not spec.low <= item <= spec.high]
        return self._limits(path, wrong[0], spec) if wrong else value

    def _size(self, path, value, spec):
        if isinstance(value, str):
            match = re.fullmatch(r"(\d{1,12})\s*([KMG])", value)
            if not match:
                return self.add(
                    path, f"'{value}' is no size", f"write {path[-1]} = {_example(spec)}"
                )
            value = int(match.group(1)) * UNITS[match.group(2)]
        elif isinstance(value, bool) or not isinstance(value, int):
            return self._wrong_type(path, value, "a size", spec)
        return self._limits(path, value, spec)

    def _limits(self, path, value, spec):
        show = show_size if spec.kind == "size" else str
        if not spec.low <= value <= spec.high:
            return self.add(
                path,
                f"'{path[-1]}' is {show(value)}, outside {show(spec.low)} to {show(spec.high)}",
                "choose a value in that range",
            )
        if value % spec.multiple:
            up = -(-value // spec.multiple) * spec.multiple
            return self.add(
                path,
                f"'{path[-1]}' is {show(value)}, not a multiple of {show(spec.multiple)}",
                f"write {path[-1]} = \"{show_size(up)}\"",
            )
        if spec.power_of_two and value & (value - 1):
            return self.add(
                path,
                f"'{path[-1]}' is {value}, not a power of two",
                f"write {path[-1]} = {min(1 << value.bit_length(), spec.high)}",
            )
        return value

    def _texts(self, path, value, spec):
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            return self._wrong_type(path, value, "a list of texts", spec)
        if len(value) > spec.high:
            self.add(path, f"'{path[-1]}' has {len(value)} texts, more than {spec.high}", "use fewer")
        return value

    def _names(self, path, value, spec):
        if not isinstance(value, list):
            return self._wrong_type(path, value, "a list of names", spec)
        out = []
        for item in value:
            if not isinstance(item, str):
                return self._wrong_type(path, value, "a list of names", spec)
            if item in out:
                self.add(path, f"'{item}' stands twice in '{path[-1]}'", "remove one of them", item)
            elif self.check_name(path, item):
                out.append(item)
        if len(out) > spec.high:
            self.add(path, f"'{path[-1]}' has {len(out)} names, more than {spec.high}", "use fewer")
        return out


def _example(spec):
    return {
        "name": '"kvstore"',
        "text": '"text"',
        "int": str(max(spec.low, 1)),
        "ints": "[1]",
        "size": '"64M"',
        "bool": "true",
        "choice": " or ".join(f'"{choice}"' for choice in spec.choices),
        "names": '["kvstore"]',
        "texts": '["text"]',
    }[spec.kind]


def show_size(value):
    """A size as it would be written in a manifest."""
    for unit, factor in (("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)):
        if value and value % factor == 0:
            return f"{value // factor}{unit}"
    return str(value)
