# SPDX-License-Identifier: MIT OR Apache-2.0
"""What passed, failed and was skipped, shown as it comes and counted at the end."""

import time


class Results:
    """Collects outcomes; every one is printed at once."""

    def __init__(self, out=print):
        self.passed = 0
        self.failed = []
        self.skipped = []
        self._out = out
        self._start = time.monotonic()

    def section(self, title):
        """Announces a group of tests."""
        self._out(f"== {title} ({time.monotonic() - self._start:.0f} s)")

    def ok(self, name, detail="", show=True, count=1):
        """A test that passed, or a program of `count` tests."""
        self.passed += count
        if show:
            self._out(f"ok    {name}" + (f"  {detail}" if detail else ""))

    def fail(self, name, lines=(), show=True):
        """A test that failed; `lines` say why."""
        self.failed.append(name)
        if show:
            self._out(f"FAIL  {name}")
            for line in lines:
                self._out(f"        {line}")

    def skip(self, name, reason, show=True):
        """A test that cannot run here."""
        self.skipped.append((name, reason))
        if show:
            self._out(f"skip  {name}: {reason}")

    def finish(self):
        """Prints the summary; returns the exit status."""
        print()
        for name, reason in self.skipped:
            print(f"skipped {name}: {reason}")
        for name in self.failed:
            print(f"failed {name}")
        seconds = time.monotonic() - self._start
        print(f"{self.passed} passed, {len(self.failed)} failed"
              f" ({len(self.skipped)} skipped, {seconds:.0f} s)")
        return 1 if self.failed or not self.passed else 0
