# SPDX-License-Identifier: MIT OR Apache-2.0
"""Tests of ./hallows storage without a system."""

import argparse
import io

import pytest
import storage


def test_erase_needs_the_name_and_then_leaves_nothing(tmp_path):
    image = tmp_path / "disk.img"
    image.write_bytes(b"x" * 5000000)
    assert not storage.confirm(image, lambda _: "disk")
    assert storage.confirm(image, lambda _: "disk.img ")
    shown = io.StringIO()
    storage.erase(image, shown)
    assert image.stat().st_size == 5000000 and not any(image.read_bytes())
    assert "83 %" in shown.getvalue() and "100 %" in shown.getvalue()


def test_nobody_answers():
    with pytest.raises(storage.StorageError, match="hallows run"):
        storage.fetch(1)


@pytest.mark.parametrize("count,text", [(0, "0 B"), (1536, "1.5 KiB"), (256 << 20, "256 MiB"),
                                        (3 << 50, "3072 TiB")])
def test_sizes(count, text):
    assert storage._size(count) == text  # pylint: disable=protected-access


def superblock(number, *names):
    """As docs/storage-format.md has it, in as far as it is looked at."""
    logs = b"".join(name.encode().ljust(40, b"\0") + b"\1" + bytes(87) for name in names)
    head = b"HALLOGSB" + (3).to_bytes(4, "little") + bytes(4) + number.to_bytes(8, "little")
    return (head.ljust(256, b"\0") + logs).ljust(4096, b"\0")


@pytest.mark.parametrize("data,text", [
    (bytes(8192), "nothing at its beginning"),
    (b"not ours", "data that is not this system's"),
    (superblock(5, "old") + bytes(61440) + superblock(6, "one", "two"), "logs (format 3): one, two"),
    (superblock(7) + bytes(61440) + superblock(6, "gone"), "logs (format 3): none"),
])
def test_what_an_image_holds(tmp_path, data, text):
    image = tmp_path / "disk.img"
    image.write_bytes(data)
    assert storage.contents(image) == text


def test_each_image_is_confirmed_by_itself(tmp_path, monkeypatch):
    images = [tmp_path / name for name in ("one.img", "two.img")]
    for image in images:
        image.write_bytes(b"x" * 1000)
    monkeypatch.setattr("sys.stdin", io.StringIO("two.img\ntwo.img\n"))
    options = argparse.Namespace(format=images, yes=False)
    assert storage.main(options) == 1
    assert images[0].read_bytes() == b"x" * 1000 and not any(images[1].read_bytes())


def test_errors_of_the_drive_are_named():
    errors = [{"number": 7, "status": 0x281, "namespace": 1, "block": 1007, "queue": 2},
              {"number": 6, "status": 0x3ff, "namespace": 1, "block": 5, "queue": 1}]
    assert storage._errors({"error_log": errors}) == [  # pylint: disable=protected-access
        "  error 7     unrecovered read error (0x281), namespace 1, block 1007, queue 2",
        "  error 6     an error (0x3ff), namespace 1, block 5, queue 1"]
