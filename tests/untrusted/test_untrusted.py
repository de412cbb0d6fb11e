"""Small files that anybody may have written."""

import os

import pytest

from napari_vessel.untrusted import read_json, read_text, shortened


def test_a_text_is_read_without_its_byte_order_mark(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffäb\n".encode())
    assert read_text(tmp_path / "a.txt") == "äb\n"
    (tmp_path / "a.json").write_text('{"a": [1, null]}')
    assert read_json(tmp_path / "a.json") == {"a": [1, None]}


def test_more_than_there_may_be_is_not_read(tmp_path):
    (tmp_path / "a.txt").write_text("x" * 11)
    assert len(read_text(tmp_path / "a.txt", 11)) == 11
    with pytest.raises(ValueError, match="larger than 1e-05 MB"):
        read_text(tmp_path / "a.txt", 10)


@pytest.mark.skipif(os.name == "nt", reason="pipes with names are POSIX")
def test_a_pipe_and_a_device_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "endless").symlink_to("/dev/zero")
    for name in ("pipe", "endless"):
        with pytest.raises(ValueError, match="not a file"):
            read_text(tmp_path / name)


def test_what_is_nested_too_deep_or_no_text_is_one_kind_of_error(tmp_path):
    for content in (b"[" * 100_000, b"\xff\xfe", b"{", b"1" * 5000):
        (tmp_path / "a.json").write_bytes(content)
        with pytest.raises(ValueError, match=r"."):
            read_json(tmp_path / "a.json")
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "none.json")


def test_long_values_are_cut_for_a_sentence():
    assert shortened("abc") == "'abc'"
    assert shortened("x" * 1000) == f"'{'x' * 119}…"
    assert shortened(ValueError("too bad")) == "too bad"
    assert len(shortened(ValueError("too bad " * 1000))) == 601
