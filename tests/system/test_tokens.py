"""Several tokens with scopes, rotated while the worker runs; admin actions are put down."""

import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.http_answers import assert_problem
from tests.support.worker_process import WorkerProcess

pytestmark = pytest.mark.system


def write(file: Path, text: str) -> None:
    file.write_text(text)
    file.chmod(0o600)


def test_scopes_rotation_and_the_audit_log(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    write(tokens, "ci submit s3cret\neyes read l00k\nops admin p4ss\n")
    with WorkerProcess(tmp_path, VERA_AUTH__TOKENS_FILE=str(tokens)) as node:

        def send(method: str, path: str, token: str) -> int:
            headers = {"authorization": f"Bearer {token}"}
            body = {"payload": {"function": "noop"}} if path == "/task/submit" else None
            return node.client.request(method, path, headers=headers, json=body).status_code

        assert send("POST", "/task/submit", "s3cret") == 202
        assert send("GET", "/tasks", "s3cret") == 403
        assert send("GET", "/tasks", "l00k") == 200
        assert send("POST", "/task/submit", "l00k") == 403
        assert send("POST", "/admin/drain", "l00k") == 403
        write(tokens, "ci submit\n")
        problem = node.client.post("/admin/reload", headers={"authorization": "Bearer p4ss"})
        assert "line 1: a name, its scopes" in assert_problem(problem, 422)["detail"]
        assert send("POST", "/task/submit", "s3cret") == 202, "the old ones stay in force"
        write(tokens, "ci submit n3w\nops admin p4ss\n")
        assert send("POST", "/admin/reload", "p4ss") == 200
        assert send("POST", "/task/submit", "s3cret") == 401
        assert send("POST", "/task/submit", "n3w") == 202
        assert send("POST", "/admin/drain", "wrong") == 401
        log = node.log.read_text()
    lines = re.findall(r"audit - INFO - (.*)", log)
    assert lines == [
        "POST '/admin/drain' by token 'eyes' from 127.0.0.1: 403",
        "POST '/admin/reload' by token 'ops' from 127.0.0.1: 422",
        "token 'eyes' is known no more",
        "token 'ci' is another one",
        "POST '/admin/reload' by token 'ops' from 127.0.0.1: 200",
        "POST '/admin/drain' by nobody known from 127.0.0.1: 401",
    ]
    for secret in ("s3cret", "l00k", "p4ss", "n3w", "wrong"):
        assert secret not in log


def test_a_task_belongs_to_the_token_that_submitted_it(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    write(tokens, "ci submit s3cret\nother submit,read 0ther\nops admin p4ss\n")
    with WorkerProcess(tmp_path, VERA_AUTH__TOKENS_FILE=str(tokens)) as node:

        def send(method: str, path: str, token: str, body: Any = None) -> httpx.Response:
            headers = {"authorization": f"Bearer {token}"}
            return node.client.request(method, path, headers=headers, json=body)

        def submit(token: str, path: str = "/task/submit") -> str:
            body = {"payload": {"function": "sleep", "args": [600]}}
            return str(send("POST", path, token, body).json()["task_id"])

        mine, theirs = submit("s3cret"), submit("p4ss")
        for task_id, stranger in ((mine, "0ther"), (theirs, "0ther"), (theirs, "s3cret")):
            problem = assert_problem(send("DELETE", f"/task/{task_id}", stranger), 403)
            assert "'admin'" in problem["detail"]
            assert "payload" not in problem
            assert send("GET", f"/task/{task_id}", "0ther").json()["status"] != "cancelled"
        assert send("DELETE", f"/task/{mine}", "s3cret").json()["payload"]["args"] == [600]
        assert send("DELETE", f"/task/{theirs}", "p4ss").json()["status"] == "cancelled"
        assert_problem(send("POST", f"/task/{mine}/retry", "0ther"), 403)
        again = send("POST", f"/task/{mine}/retry", "s3cret").json()["task_id"]
        assert send("DELETE", f"/task/{again}", "s3cret").status_code == 200
        assert_problem(send("DELETE", "/task/nobody", "s3cret"), 404)

        # The only token there is, but not for everything: what came before is not its own.
        others = submit("p4ss")
        write(tokens, "ci submit s3cret\n")
        assert send("POST", "/admin/reload", "p4ss").status_code == 200
        assert_problem(send("DELETE", f"/task/{others}", "s3cret"), 403)
        assert send("DELETE", f"/task/{submit('s3cret')}", "s3cret").status_code == 200


def test_what_the_service_manager_passes_on_is_used_where_nothing_else_is_set(
    tmp_path: Path,
) -> None:
    passed, given = tmp_path / "passed", tmp_path / "given"
    passed.mkdir()
    write(passed / "vera-worker.token", "s3cret\n")
    write(passed / "vera-worker.tokens", "eyes read l00k\n")
    write(given, "g1ven\n")

    def statuses(**settings: str) -> list[int]:
        with WorkerProcess(tmp_path, CREDENTIALS_DIRECTORY=str(passed), **settings) as node:
            tokens = ("s3cret", "l00k", "g1ven", "c0nf")
            sent = [{"authorization": f"Bearer {token}"} for token in tokens]
            found = [node.client.get("/tasks", headers=one).status_code for one in sent]
            log = node.log.read_text()
            assert not any(token in log for token in tokens)
            return found

    assert statuses() == [200, 200, 401, 401]
    assert statuses(VERA_AUTH__TOKEN_FILE=str(given)) == [401, 200, 200, 401]
    assert statuses(WORKER_TOKEN="c0nf") == [401, 200, 401, 200]
