# SPDX-License-Identifier: MIT OR Apache-2.0
"""Tests of ./hallows storage without a system."""

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
