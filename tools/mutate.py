# SPDX-License-Identifier: MIT OR Apache-2.0
"""Faults to plant into C: reads the tokens of a file, finds the places inside function bodies where
a fault of each kind can be made, and says what the text becomes. No knowledge of types: what does
not compile is left out by the caller.

Kinds: check (a condition that never holds), negate (a condition turned round), constant (another
number, another constant of the same family), operator (another one), swap (two arguments), boundary
(< for <= and the like), statement (an assignment, call, break or continue left out).
"""

import re
from dataclasses import dataclass

KINDS = ("check", "negate", "constant", "operator", "swap", "boundary", "statement")

TOKEN = re.compile(
    r"(?P<space>\s+|\\\n)"
    r"|(?P<comment>//[^\n]*|/\*.*?\*/)"
    r"|(?P<directive>(?<![^\n])[ \t]*#(?:[^\n\\]|\\.|\\\n)*)"
    r'|(?P<string>"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\')'
    r"|(?P<number>(?:0[xX][0-9a-fA-F]+|[0-9]+)[uUlL]*)"
    r"|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<mark>->|\+\+|--|<<=|>>=|<<|>>|[-+*/%&|^=!<>]=|&&|\|\||\.\.\.|.)",
    re.DOTALL)
OTHER_OPERATOR = {
    "&&": "||", "||": "&&", "==": "!=", "!=": "==", "+": "-", "-": "+", "&": "|", "|": "&",
    "<<": ">>", ">>": "<<", "^": "|", "*": "+", "/": "*", "%": "/",
    "+=": "-=", "-=": "+=", "|=": "&=", "&=": "|=", "++": "--", "--": "++",
}
OTHER_BOUNDARY = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
# Only these are families of constants: their members mean the same kind of thing.
FAMILY = re.compile(r"^(RIGHTS?|THREAD|PAGE|OBJECT|STATUS|MESSAGE|IRQ|SCHED|UPCALL|IO|DEADLINE|LEASE"
                    r"|FAULT|SEGMENT|TRACE|RING|ENTRY|LEAF)_[A-Z0-9_]+$")
NO_STATEMENT = {"return", "goto", "if", "else", "for", "while", "do", "switch", "case", "default",
                "struct", "enum", "const", "static", "union", "unsigned", "sizeof"}
ASSERTIONS = {"ASSERT", "VERIFY", "_Static_assert", "FAIL_UNLESS"}
WORDS_BEFORE_VALUE = {"return", "case", "sizeof", "else", "do", "goto"}


@dataclass(frozen=True)
class Token:
    """One word of C."""

    kind: str
    text: str
    start: int

    @property
    def end(self):
        """Behind it."""
        return self.start + len(self.text)


@dataclass(frozen=True)
class Fault:
    """A change of text[start:end]."""

    kind: str
    start: int
    end: int
    after: str


def tokens_of(text):
    """The tokens, spaces, comments and preprocessor lines left out."""
    out = []
    for match in TOKEN.finditer(text):
        if match.lastgroup not in ("space", "comment", "directive"):
            out.append(Token(match.lastgroup, match.group(), match.start()))
    return out


def match_of(tokens, at):
    """The index of the bracket that closes the one at `at`."""
    pairs = {"(": ")", "[": "]", "{": "}"}
    depth = 0
    for i in range(at, len(tokens)):
        if tokens[i].kind == "mark" and tokens[i].text in pairs:
            depth += 1
        elif tokens[i].kind == "mark" and tokens[i].text in pairs.values():
            depth -= 1
            if depth == 0:
                return i
    raise ValueError("a bracket without its end")


def bodies(tokens):
    """(first, last) token indices of each function body, braces included."""
    at = 0
    while at < len(tokens):
        if tokens[at].text == "{":
            end = match_of(tokens, at)
            if at > 0 and tokens[at - 1].text == ")":
                yield at, end
            at = end
        at += 1


def families(tokens):
    """Constants of the file by family."""
    out = {}
    for token in tokens:
        match = FAMILY.match(token.text)
        if token.kind == "name" and match:
            out.setdefault(match.group(1).removesuffix("S"), set()).add(token.text)
    return {name: sorted(members) for name, members in out.items()}


class _Body:
    """One function body."""

    def __init__(self, tokens, first, last, groups):
        self.tokens, self.first, self.last, self.groups = tokens, first, last, groups
        self.out = []

    def add(self, kind, first, last, after):
        """A fault that replaces the tokens first..last."""
        self.out.append(Fault(kind, self.tokens[first].start, self.tokens[last].end, after))

    def source(self, text, first, last):
        """The text of the tokens first..last."""
        return text[self.tokens[first].start:self.tokens[last].end]

    def faults(self, text):
        """All of them."""
        i = self.first + 1
        while i < self.last:
            token = self.tokens[i]
            if token.text in ASSERTIONS and self.tokens[i + 1].text == "(":
                i = match_of(self.tokens, i + 1) + 1
                continue
            if token.text in ("if", "while") and self.tokens[i + 1].text == "(":
                self.condition(text, i)
            elif token.kind == "number":
                self.number(i)
            elif token.kind == "name":
                self.name(text, i)
            elif token.kind == "mark":
                self.mark(i)
            if self.starts_statement(i):
                self.statement(i)
            i += 1
        return self.out

    def condition(self, text, i):
        """`if (...)` and `while (...)`."""
        end = match_of(self.tokens, i + 1)
        inside = self.source(text, i + 2, end - 1)
        self.add("negate", i + 2, end - 1, f"!({inside})")
        if self.tokens[i].text == "if":
            self.add("check", i + 2, end - 1, f"0 && ({inside})")

    def number(self, i):
        """Another number."""
        match = re.match(r"(0[xX][0-9a-fA-F]+|\d+)(.*)", self.tokens[i].text)
        value, suffix = int(match.group(1), 0), match.group(2)
        for other in {value + 1, max(value - 1, 0)} - {value}:
            self.add("constant", i, i, f"{other}{suffix}")

    def name(self, text, i):
        """Another constant, truth for falsehood, arguments swapped."""
        token = self.tokens[i]
        if token.text in ("true", "false"):
            self.add("constant", i, i, "false" if token.text == "true" else "true")
        match = FAMILY.match(token.text)
        for other in self.groups.get(match.group(1).removesuffix("S"), ()) if match else ():
            if other != token.text:
                self.add("constant", i, i, other)
        if self.tokens[i + 1].text == "(" and token.text not in NO_STATEMENT:
            self.arguments(text, i + 1)

    def arguments(self, text, opening):
        """f(a, b) to f(b, a)."""
        end, depth, parts, first = match_of(self.tokens, opening), 0, [], opening + 1
        for i in range(opening + 1, end + 1):
            word = self.tokens[i].text
            if (word == "," and depth == 0) or i == end:
                parts.append((first, i - 1))
                first = i + 1
            depth += (word in "([{") - (word in ")]}")
        for (a, b), (c, d) in zip(parts, parts[1:]):
            if a <= b and c <= d and self.source(text, a, b) != self.source(text, c, d):
                self.add("swap", a, d, f"{self.source(text, c, d)}, {self.source(text, a, b)}")

    def mark(self, i):
        """Another operator."""
        word, before = self.tokens[i].text, self.tokens[i - 1]
        after_value = before.kind in ("number", "string") or before.text in (")", "]") or (
            before.kind == "name" and before.text not in WORDS_BEFORE_VALUE)
        if word in OTHER_BOUNDARY:
            self.add("boundary", i, i, OTHER_BOUNDARY[word])
        elif word in ("+", "-", "&", "*", "|") and (not after_value or self.after_cast(i - 1)):
            pass  # unary, or behind a cast
        elif word == "*" and before.kind == "name" and self.declares(i - 1):
            pass
        elif word in OTHER_OPERATOR:
            self.add("operator", i, i, OTHER_OPERATOR[word])

    def after_cast(self, i):
        """Whether the bracket that ends at i holds a type."""
        if self.tokens[i].text != ")":
            return False
        depth, first = 0, i
        while first > self.first:
            depth += (self.tokens[first].text == ")") - (self.tokens[first].text == "(")
            if depth == 0:
                break
            first -= 1
        inside = [t.text for t in self.tokens[first + 1:i]]
        return bool(inside) and all(re.match(r"^(\w+_t|u?int|struct|const|enum|void|\*|\w+)$", w)
                                    for w in inside) and (
            inside[0] in ("struct", "const", "enum", "void", "int", "unsigned")
            or inside[0].endswith(("_t", "_ix")) or inside[-1] == "*")

    def declares(self, i):
        """Whether the name at i is a type that starts a declaration."""
        return self.starts_statement(i) or self.tokens[i - 1].text in ("struct", "const", "enum")

    def starts_statement(self, i):
        """Whether a statement begins with token i."""
        before = self.tokens[i - 1].text
        return before in ("{", "}", ";", ":", "else") or (before == ")" and self.ends_head(i - 1))

    def ends_head(self, i):
        """Whether the bracket that ends at i is that of an if, for or while."""
        depth = 0
        while i > self.first:
            depth += (self.tokens[i].text == ")") - (self.tokens[i].text == "(")
            if depth == 0:
                return self.tokens[i - 1].text in ("if", "for", "while", "switch")
            i -= 1
        return False

    def statement(self, i):
        """Leaves out a statement that is an expression, a break or a continue."""
        token = self.tokens[i]
        if token.text in NO_STATEMENT or token.text in ASSERTIONS or (
                token.kind != "name" and token.text not in ("(", "*", "++", "--")):
            return
        end, depth = i, 0
        while self.tokens[end].text != ";" or depth:
            depth += (self.tokens[end].text in "([{") - (self.tokens[end].text in ")]}")
            if depth < 0:
                return  # not a statement: an initializer, the head of a for
            end += 1
        words = self.tokens[i:end]
        declares = len(words) > 1 and words[0].kind == "name" and (
            words[1].kind == "name" or (words[1].text == "*" and len(words) > 2
                                        and words[2].kind == "name" and words[0].kind == "name"))
        has_effect = any(w.text in ("=", "(", "++", "--") or w.text.endswith("=") for w in words)
        if not declares and (has_effect or token.text in ("break", "continue")):
            self.add("statement", i, end, ";")


def faults_of(text):
    """Every fault that can be made in a file's functions, in the order of the text."""
    tokens = tokens_of(text)
    groups = families(tokens)
    out = []
    for first, last in bodies(tokens):
        out += _Body(tokens, first, last, groups).faults(text)
    return sorted(out, key=lambda f: (f.start, f.end, f.kind, f.after))


def plant(text, fault):
    """The text with the fault in it."""
    return text[:fault.start] + fault.after + text[fault.end:]


def function_of(text, fault):
    """The name of the function that it is in."""
    heads = re.findall(r"^[A-Za-z][^;={}\n]*?(\w+)\(", text[:fault.start], re.M)
    return heads[-1] if heads else ""


def describe(text, fault):
    """(line number, what the lines were, what they are), spaces made one."""
    first = text.rfind("\n", 0, fault.start) + 1
    last = text.find("\n", fault.end)
    before = text[first:last]
    after = text[first:fault.start] + fault.after + text[fault.end:last]
    return text.count("\n", 0, fault.start) + 1, " ".join(before.split()), " ".join(after.split())
