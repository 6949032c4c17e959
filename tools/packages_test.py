# SPDX-License-Identifier: MIT OR Apache-2.0
"""Unit tests of the package plans: apt's files in both styles, and what a fresh machine is told."""

import packages
import pytest
import vm

DEB822 = """Types: deb deb-src
# a comment
URIs: http://mirror.test/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/some.gpg

Types: deb
URIs: http://mirror.test/security
Suites: bookworm-security
Components: main
"""
ONE_LINE = """# deb http://mirror.test/old bookworm main
deb-src http://mirror.test/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg] http://mirror.test/debian bookworm main contrib # note
deb http://mirror.test/security bookworm-security main
"""


@pytest.fixture(name="apt")
def apt_folder(tmp_path):
    """An empty /etc/apt."""
    (tmp_path / "sources.list.d").mkdir()
    return tmp_path


def test_deb822_entry_is_copied(apt):
    (apt / "sources.list.d/debian.sources").write_text(DEB822)
    assert packages.suites(apt) == {"bookworm", "bookworm-updates", "bookworm-security"}
    name, text = packages.derive_source("bookworm", "bookworm-backports", apt)
    assert name == "hallows-bookworm-backports.sources"
    assert text.splitlines() == [
        "Types: deb",
        "URIs: http://mirror.test/debian",
        "Suites: bookworm-backports",
        "Components: main",
        "Signed-By: /usr/share/keyrings/some.gpg",
    ]


def test_inline_key_is_copied_whole(apt):
    key = "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc=\n -----END PGP-----\n"
    entry = DEB822.replace("Signed-By: /usr/share/keyrings/some.gpg\n", key)
    (apt / "sources.list.d/debian.sources").write_text(entry)
    text = packages.derive_source("bookworm", "bookworm-backports", apt)[1]
    assert " .\n abc=\n -----END PGP-----\n" in text


def test_one_line_entry_is_copied(apt):
    (apt / "sources.list").write_text(ONE_LINE)
    assert packages.suites(apt) == {"bookworm", "bookworm-security"}
    name, text = packages.derive_source("bookworm", "bookworm-backports", apt)
    assert name == "hallows-bookworm-backports.list"
    options = "[arch=amd64 signed-by=/k.gpg]"
    assert text == f"deb {options} http://mirror.test/debian bookworm-backports main\n"


def test_disabled_entry_does_not_count(apt):
    (apt / "sources.list.d/debian.sources").write_text("Enabled: no\n" + DEB822)
    assert packages.suites(apt) == {"bookworm-security"}
    assert packages.derive_source("bookworm", "bookworm-backports", apt) is None


def test_files_of_others_do_not_count(apt):
    (apt / "sources.list.d/debian.sources.disabled").write_text(DEB822)
    assert packages.suites(apt) == set()


@pytest.fixture(name="fresh")
def fresh_machine(monkeypatch, apt):
    """A machine on which nothing is installed."""
    (apt / "sources.list.d/debian.sources").write_text(DEB822)
    monkeypatch.setattr(packages.Need, "present", lambda need: False)
    monkeypatch.setattr(vm, "qemu_version", lambda: None)
    monkeypatch.setattr(packages, "APT", apt)
    monkeypatch.setattr(packages, "release", lambda: ("debian", "bookworm"))
    return apt


def test_no_install_prints_everything_and_stops(fresh, capsys, monkeypatch):
    monkeypatch.setattr(packages, "_carry_out", lambda plan: pytest.fail("it installed"))
    with pytest.raises(packages.PackageError, match="binutils, gcc, make, qemu-system-x86"):
        packages.ensure("run", install=False)
    text = capsys.readouterr().out
    assert "gcc: compiles kernel and cells" in text
    assert f"write {fresh}/sources.list.d/hallows-bookworm-backports.sources" in text
    assert "Pin-Priority: 100" in text
    assert "run: apt-get install -y --no-install-recommends -t bookworm-backports" in text


def test_backports_that_are_there_are_used(fresh):
    entry = DEB822.replace("bookworm-updates", "bookworm-backports")
    (fresh / "sources.list.d/debian.sources").write_text(entry)
    plan = packages.make_plans("run")[-1]
    assert not plan.files and plan.commands[0][4:6] == ["-t", "bookworm-backports"]


def test_trixie_takes_its_own(fresh, monkeypatch):
    monkeypatch.setattr(packages, "release", lambda: ("debian", "trixie"))
    plan = packages.make_plans("run")[-1]
    assert plan.commands == [packages.install_command(["qemu-system-x86"])]


def test_distributions_qemu_when_backports_fail(fresh, monkeypatch):
    done = []

    def carry_out(plan):
        done.append(plan.commands[-1])
        return "-t" not in plan.commands[-1]

    monkeypatch.setattr(packages, "_carry_out", carry_out)
    monkeypatch.setattr(packages, "_apt_lists_empty", lambda: False)
    monkeypatch.setattr(packages.shutil, "which", lambda name, path=None: "/bin/" + name)
    with pytest.raises(packages.PackageError):
        packages.ensure("run")
    assert done[-1] == packages.install_command(["qemu-system-x86"])


def test_neither_root_nor_sudo_is_one_line(fresh, monkeypatch):
    monkeypatch.setattr(packages.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(packages.shutil, "which", lambda name, path=None: None)
    with pytest.raises(packages.PackageError, match="neither root nor is there sudo"):
        packages._as_root(["apt-get", "update"])


def test_nothing_missing_says_nothing(monkeypatch, capsys):
    monkeypatch.setattr(packages.Need, "present", lambda need: True)
    monkeypatch.setattr(vm, "qemu_version", lambda: (10, 0))
    packages.ensure("test")
    assert capsys.readouterr().out == ""
