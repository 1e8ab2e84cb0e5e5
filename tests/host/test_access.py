"""The token that is made is whole, private and kept; a file that is unfit is refused."""

import os
from pathlib import Path

import pytest

from vera_supervisor.access import UnfitToken, given_token, kept_token


def test_a_token_is_made_once_and_private_under_any_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        token = kept_token(tmp_path)
    finally:
        os.umask(before)
    assert len(token) == 43
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600
    assert kept_token(tmp_path) == token
    assert os.listdir(tmp_path) == ["token"]


def test_a_made_token_and_its_name_are_on_disk_before_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[str, list[str]]] = []

    def fsync(file: int) -> None:
        synced.append((os.readlink(f"/proc/self/fd/{file}"), os.listdir(tmp_path)))

    monkeypatch.setattr(os, "fsync", fsync)
    kept_token(tmp_path)
    assert synced == [
        (str(tmp_path / "token.new"), ["token.new"]),
        (str(tmp_path), ["token"]),
    ]


def test_the_draft_of_a_start_that_was_cut_off_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "token.new").write_text("half")
    assert len(kept_token(tmp_path)) == 43
    assert os.listdir(tmp_path) == ["token"]


@pytest.mark.parametrize("content", ["", "\n", "half", "x" * 42 + "\n", "two words\n", "a\nb\n"])
def test_a_kept_token_that_is_empty_or_torn_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "token").write_text(content)
    (tmp_path / "token").chmod(0o600)
    with pytest.raises(UnfitToken, match="token file"):
        kept_token(tmp_path)


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o620])
def test_a_kept_token_that_others_can_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    kept_token(tmp_path)
    (tmp_path / "token").chmod(mode)
    with pytest.raises(UnfitToken, match="open to other users"):
        kept_token(tmp_path)


def test_a_given_file_may_be_read_by_its_group_but_must_exist(tmp_path: Path) -> None:
    file = tmp_path / "given"
    with pytest.raises(UnfitToken, match="cannot be read"):
        given_token(file)
    file.write_text("s3cret")
    file.chmod(0o440)
    assert given_token(file) == "s3cret"


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "token", 0o600)
    with pytest.raises(UnfitToken, match="one line"):
        kept_token(tmp_path)
