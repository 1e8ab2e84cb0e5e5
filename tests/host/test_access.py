"""The token that is made is whole, private and kept; a file that is unfit is refused."""

import os
from pathlib import Path

import pytest

from vera_supervisor.access import (
    Credential,
    Scope,
    UnfitToken,
    credential,
    differences,
    digest,
    find,
    given_token,
    kept_token,
    listed_tokens,
    passed_file,
)


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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    kept_token(tmp_path)
    os.chown(tmp_path / "token", 12345, 12345)
    for read in (lambda: kept_token(tmp_path), lambda: given_token(tmp_path / "token")):
        with pytest.raises(UnfitToken, match="belongs to user 12345"):
            read()


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "token", 0o600)
    with pytest.raises(UnfitToken, match="one line"):
        kept_token(tmp_path)


def test_a_list_of_tokens_by_name_and_scope(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(
        f"# who may do what\n\n ci  submit,read  s3cret \ngrafana\tread\tsha256:"
        f"{digest(b'graph').hex().upper()}\nops admin p4ss\n"
    )
    file.chmod(0o640)
    ci, grafana, ops = listed_tokens(file)
    assert ci == ("ci", digest(b"s3cret"), {Scope.SUBMIT, Scope.READ})
    assert (grafana.digest, grafana.scopes) == (digest(b"graph"), {Scope.READ})
    assert find(b"graph", (ci, grafana, ops)) == grafana
    assert find(b"", (ci, grafana, ops)) is None
    assert not grafana.may(Scope.SUBMIT)
    assert not ci.may(Scope.ADMIN)
    assert all(ops.may(scope) for scope in Scope)
    assert all(credential("x").may(scope) for scope in Scope)


def test_a_token_that_can_be_guessed_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"ci submit s3cret\nhidden read sha256:{'0' * 64}\nops admin {'x' * 16}\n")
    file.chmod(0o600)
    listed_tokens(file)
    credential("p4ss")
    said = [record.getMessage() for record in caplog.records]
    assert [text.partition(" and ")[0] for text in said] == [
        "the token 'ci' has 6 characters",
        "the token 'token' has 4 characters",
    ]
    assert "s3cret" not in caplog.text
    caplog.clear()
    credential(kept_token(tmp_path))
    assert "can be guessed" not in caplog.text


def test_what_a_reload_changes_is_told_without_a_token() -> None:
    read, both = frozenset({Scope.READ}), frozenset({Scope.READ, Scope.SUBMIT})
    old = [Credential(name, digest(name.encode()), read) for name in ("a", "b", "c", "d")]
    new = [
        old[0],
        Credential("b", digest(b"n3w"), read),
        Credential("c", old[2].digest, both),
        Credential("e", digest(b"e"), both),
    ]
    assert differences(old, new) == [
        "'d' is known no more",
        "'b' is another one",
        "'c' is for read,submit",
        "'e' is new, for read,submit",
    ]
    assert differences(old, old) == []
    assert differences(None, None) == []


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "holds no token"),
        ("# nothing\n", "holds no token"),
        ("a read x\nci submit\n", "line 2: a name, its scopes"),
        ("ci submit,write x\n", "line 1: there is no scope 'write'; the scopes are read, submit"),
        ("ci , x\n", "line 1: there is no scope ''"),
        ("ci read x\nci read y\n", "line 2: the name 'ci' was there before"),
        ("c\xfc read x\n", "line 1: a name"),
        ("ci read a b\n", "line 1: a name"),
    ],
)
def test_what_is_wrong_with_a_list_of_tokens_is_said(
    tmp_path: Path, content: str, why: str
) -> None:
    file = tmp_path / "tokens"
    file.write_bytes(content.encode("latin-1"))
    file.chmod(0o600)
    with pytest.raises(UnfitToken, match=why):
        listed_tokens(file)


def test_a_list_that_others_can_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("ci read x\n")
    (tmp_path / "tokens").chmod(0o644)
    with pytest.raises(UnfitToken, match="open to other users"):
        listed_tokens(tmp_path / "tokens")


def test_a_file_is_passed_on_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert passed_file("token") is None
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert passed_file("token") is None
    (tmp_path / "vera-worker.token").symlink_to("nowhere")
    # There, but not to be read: that is said, instead of opening the API or making a token.
    assert passed_file("token") == str(tmp_path / "vera-worker.token")
