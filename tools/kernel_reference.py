# SPDX-License-Identifier: MIT OR Apache-2.0
"""Writes docs/kernel-reference.md: every object and call of the kernel, from what the sources say.
Objects and calls: include/hallows/syscall.h. What a call requires and changes: the specification
before its function in kernel/. What it may answer: the statuses that its function and those it calls
return, less what they turn into another. Costs: the figures of docs/status.md.

usage: kernel_reference.py
"""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/kernel-reference.md"
HEADER = ROOT / "include/hallows/syscall.h"
STATUS = ROOT / "docs/status.md"
CALL = re.compile(r"X\((\w+),\s*(\d+),((?:\s*\"[^\"]*\"\s*,?)+)\)")
OBJECT = re.compile(r"^\s+OBJECT_(\w+) = (\d+),?\s*(?:/\* (.*?) \*/)?$", re.MULTILINE)
LIMIT = re.compile(r"((?:/\*(?:(?!\*/).)*\*/\s*)?)#define (\w+_MAX) (\w+)")
COMMENT = r"/\*((?:(?!\*/).)*)\*/\s*"
FUNCTION = re.compile(
    r"^(?:" + COMMENT + r")?(?:static |inline |FAST |APART |INLINE |HALLOWS_MUST_CHECK )*(?:struct range|status_t)\s+(\w+)\("
    r"([^;{]*)\)\s*\{\n(.*?)^\}", re.DOTALL | re.MULTILINE)
# What an object's life and its calls cost: rows of the benchmarks.
COSTS = {
    "yield": "syscall", "cap_copy": "cap-copy", "cap_mint": "cap-mint", "cap_delete": "cap-delete",
    "untyped_retype": "retype-endpoint", "notification_signal": "signal-nobody-waits",
    "segment_populate": "map", "segment_depopulate": "unmap", "segment_protect": "segment-protect",
    "segment_attach": "segment-attach", "segment_detach": "segment-detach",
    "segment_revert": "segment-revert", "segment_populate_device": "map-device",
    "ipc_call": "call-reply-0", "ipc_reply_recv": "call-reply-0",
}
INTRODUCTION = """# Objects and calls

Every object and call of the kernel ([how it works](kernel.md)), as the sources say: this page is
written by `tools/kernel_reference.py`, and `./hallows check` fails when it is not what the script would
write. A `slot` is a number in the caller's own capability table; a `ref` may name another table
(`cap_ref`). A call that answers anything but OK, AGAIN, TIMED_OUT or CANCELLED has changed nothing.
Any call answers INVALID_CALL if its number is unknown. "May answer" is what the code can return on
some way through it; with several things wrong, the first that the code looks at is told. Costs are
guest instructions, kernel and stub together (`./hallows bench kernel`); without one, a call is of the
order of those around it. Bounds: one entry takes at most what `kernel/interrupts-off` says, {bound}
instructions; what takes longer is done in steps, and the call answers AGAIN.
"""


def squeeze(comment):
    """A comment's text in one line."""
    return " ".join(re.sub(r"^\s*\*", "", comment, flags=re.MULTILINE).split())


def calls():
    """(number, name, arguments, values, summary) of every call, by number."""
    text = HEADER.read_text(encoding="utf-8").replace("\\\n", "\n")
    table = text[text.index("#define HALLOWS_SYSCALL_TABLE"):]
    table = re.sub(r"\"\s*\n\s*\"", "", table[: table.index("#define HALLOWS_SYSCALL_ENUM")])
    found = []
    for name, number, strings in CALL.findall(table):
        found.append((int(number), name, *re.findall(r"\"([^\"]*)\"", strings)))
    return sorted(found)


def functions():
    """Maps functions of the kernel that return a status to (comment, body)."""
    found = {}
    for path in sorted((ROOT / "kernel").rglob("*.[ch]")):
        if re.search(r"_(test|fake|fuzz)\.c$|/host/|/x86_64/", path.as_posix()):
            continue
        for comment, name, _, body in FUNCTION.findall(path.read_text(encoding="utf-8")):
            found[name] = (comment, body)
    # Calls that one function does for several.
    dispatch = (ROOT / "kernel/syscall.c").read_text(encoding="utf-8")
    for name, target in re.findall(r"^FORWARD_TO\((\w+), (\w+)", dispatch, re.MULTILINE):
        found[name] = found[target]
    return found


def answers(name, known, above=()):
    """The statuses that a function may return."""
    if name not in known or name in above:
        return set()
    body = known[name][1]
    handled = set(re.findall(r"[!=]= STATUS_(\w+)", body)) - {"OK"}
    below = set()
    for called in set(re.findall(r"\b(\w+)\(", body)):
        below |= answers(called, known, (*above, name))
    own = re.findall(r"(?<![!=]= )STATUS_(\w+)", body)
    woken = ["TIMED_OUT", "CANCELLED"] if "CALL_BLOCKED" in body else []
    return set(own) | set(woken) | (below - handled)


def costs():
    """Maps rows of the benchmarks to their figures."""
    rows = re.findall(r"^\| kernel/(\S+) \| ([\d,]+) \|", STATUS.read_text(encoding="utf-8"), re.MULTILINE)
    return dict(rows)


def objects():
    """The table of object types and that of limits, as Markdown."""
    text = HEADER.read_text(encoding="utf-8")
    lines = ["## Objects", "", "| object | number | what |", "|---|---:|---|"]
    body = text[text.index("enum object_type {"): text.index("OBJECT_TYPE_COUNT")]
    for name, number, what in OBJECT.findall(body):
        if name != "NONE":
            lines.append(f"| {name} | {number} | {what} |")
    lines += ["", "## Limits", "", "| constant | value | why |", "|---|---:|---|"]
    for comment, name, value in LIMIT.findall(text):
        why = squeeze(re.sub(r"/\*|\*/", "", comment))
        lines.append(f"| {name} | {value.rstrip('u')} | {'' if why.startswith('--') else why} |")
    return lines


def call(entry, known, figures):
    """One call, as Markdown."""
    number, name, arguments, values, summary = entry
    lines = [f"### {name} ({number})", "", summary[0].upper() + summary[1:] + ".", ""]
    lines.append(f"- Arguments: {arguments or 'none'}.")
    if values:
        lines.append(f"- Values: {values}.")
    specification = squeeze(known.get(name, ("", ""))[0])
    for word in ("Requires", "Changes", "Else", "Bound"):
        part = re.search(word + r": (.*?)(?= (?:Requires|Changes|Else|Bound): |$)", specification)
        if part and part[1] != "nothing changes.":
            lines.append(f"- {word}: {part[1]}")
    found = answers(name, known) | {"OK"}
    order = re.findall(r"X\((\w+), -?\d+", (ROOT / "include/hallows/status.h").read_text(encoding="utf-8"))
    lines.append("- May answer: " + ", ".join(s for s in order if s in found) + ".")
    row = COSTS.get(name)
    if row in figures:
        lines.append(f"- Cost: {figures[row]} (`kernel/{row}`).")
    return [line.replace("|", "\\|") if not line.startswith("|") else line for line in lines] + [""]


def reference():
    """The page."""
    known, figures = functions(), costs()
    lines = [INTRODUCTION.format(bound=figures.get("interrupts-off", "?")), *objects(), "", "## Calls", ""]
    for entry in calls():
        lines += call(entry, known, figures)
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
