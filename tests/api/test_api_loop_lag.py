"""The largest and oddest bodies keep nobody else waiting: the event loop is late by little (O8)."""

import gc
import threading
import time
from typing import Final

import httpx
import msgspec
import pytest

from tests.support.newcomer import live_p99
from tests.support.worker_process import WorkerProcess

pytestmark = pytest.mark.system

#: The best round shows what the worker does, the others what the machine does to it.
ROUNDS: Final = 12
LATE_S: Final = 0.1
_HEAD: Final = b'{"payload":{"function":"noop","args":['
#: Each as large as a body may be, and refused or run: what takes a decoder longest.
BODIES: Final = {
    "empty lists": _HEAD + b"[]," * 340_000 + b"0]}}",
    "depth": _HEAD + b"[" * 500_000 + b"]" * 500_000 + b"]}}",
    "escapes": _HEAD + b'"' + b"\\u00e4" * 170_000 + b'"]}}',
    "id": b'{"task_id":"' + b"x" * 1_000_000 + b'","payload":{"function":"noop"}}',
    "digits": _HEAD + b"9" * 5_000 + b"]}}",
}


def _bare_s() -> float:
    """Return how long this machine takes for nothing but decoding the worst of them, in seconds."""
    gc.disable()
    try:
        started = time.monotonic()
        msgspec.json.decode(BODIES["empty lists"])
        return time.monotonic() - started
    finally:
        gc.enable()


def _late_while_sending(body: bytes, worker: WorkerProcess) -> float:
    over, codes = threading.Event(), set[int]()

    def send() -> None:
        headers = {"content-type": "application/json"}
        with httpx.Client(base_url=worker.url, timeout=60, trust_env=False) as client:
            while True:
                answer = client.post("/task/submit", content=body, headers=headers)
                codes.add(answer.status_code)
                if over.is_set():
                    return

    sender = threading.Thread(target=send)
    sender.start()
    try:
        return live_p99(worker)
    finally:
        over.set()
        sender.join()
        assert codes <= {202, 400, 413, 422, 429}, codes


@pytest.mark.parametrize("name", BODIES)
def test_others_are_answered_at_once_while_it_comes_in(node: WorkerProcess, name: str) -> None:
    usual = live_p99(node)  # of a machine with other work to do
    late = []
    for _ in range(ROUNDS):
        late.append(_late_while_sending(BODIES[name], node) - usual)
        if late[-1] < max(LATE_S, 4 * _bare_s()):
            return
    raise AssertionError(late)
