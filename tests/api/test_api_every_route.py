"""A1 and A3: what no route can be made to fail with, and what fifty clients at once agree on."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.api.test_api_refusals import CORPUS, ENVELOPE
from tests.api.test_api_routes import routes_of_the_application
from tests.support.http_answers import assert_problem
from tests.support.worker_process import WorkerProcess

pytestmark = pytest.mark.system

SETTINGS = {"MAX_WORKERS": "1"}
JSON = {"content-type": "application/json"}
#: Streams without an end of their own; read only as far as to their heads.
ENDLESS = ("/events",)
ROUTES = sorted(routes_of_the_application())
BODIES = [content for content, *_ in (CORPUS | ENVELOPE).values() if len(content) <= 1 << 20]
#: Where no body is asked for, a few of each kind of trouble are enough.
READ_BODIES = {"/task/submit", "/tasks", "/tasks/cancel", "/tasks/purge", "/execute"}
QUERIES = (
    "",
    "?wait=nan",
    "?limit=1e309",
    "?cursor=%00",
    "?status=%ed%a0%80",
    "?wait=" + "9" * 4000,
)


def status_of(node: WorkerProcess, method: str, path: str, **sent: Any) -> int:
    """Return the status of an answer; whatever is refused must be a problem."""
    with node.client.stream(method, path, **sent) as answer:
        if answer.status_code < 400 and path.startswith(ENDLESS):
            return answer.status_code
        answer.read()
    if answer.status_code >= 400:
        assert_problem(answer, answer.status_code, answer.json().get("field"))
    return answer.status_code


@pytest.mark.parametrize(("method", "route"), ROUTES)
def test_nothing_that_is_sent_is_a_fault_of_the_worker(
    node: WorkerProcess, method: str, route: str
) -> None:
    path = route.replace("<task_id>", "nobody")
    bodies = BODIES if method == "POST" and route in READ_BODIES else BODIES[::40]
    sent: list[dict[str, Any]] = [{"content": body, "headers": JSON} for body in bodies]
    sent += [{"content": b"{}", "headers": {"content-type": "text/plain"}}, {}]
    found = {status_of(node, method, path, **each) for each in sent}
    found |= {status_of(node, method, path + query) for query in QUERIES}
    if route == "/admin/drain":
        assert node.client.post("/admin/resume").status_code == 200
        assert found == {200}
    assert max(found) < 500, found


def test_one_key_is_one_task_however_many_submit_it(node: WorkerProcess) -> None:
    def submit(number: int) -> httpx.Response:
        payload = {"function": "echo", "args": ["another" if number % 10 == 9 else "same"]}
        body = {"task_id": "one", "payload": payload}
        return node.client.post("/task/submit?wait=30", json=body)

    with ThreadPoolExecutor(50) as clients:
        answers = list(clients.map(submit, range(50)))
    taken = [each.json() for each in answers if each.status_code < 300]
    refused = [each for each in answers if each.status_code >= 300]
    assert {len(taken), len(refused)} in ({45, 5}, {5, 45}), [a.status_code for a in answers]
    assert {each["task_id"] for each in taken} == {"one"}
    assert len({os.fsencode(str(each["result"])) for each in taken}) == 1
    for each in refused:
        assert_problem(each, 409, "task_id")
    listed = node.client.get("/tasks?function=echo").json()["tasks"]
    assert [each["task_id"] for each in listed].count("one") == 1
