"""The fork server ends its executors whatever the task modules that it imported have begun (P2)."""

from pathlib import Path

import pytest

from tests.isolation.conftest import StartWorker
from tests.support.processes import alive, eventually, executors, slack_s

pytestmark = [pytest.mark.system]

NEVER_ENDS = """
import atexit, threading
threading.Thread(target=threading.Event().wait).start()
atexit.register(threading.Event().wait)

def busy() -> None:
    while True:
        pass
"""


def test_a_thread_and_an_exit_function_of_a_module_that_never_end_keep_nobody_alive(
    start_worker: StartWorker, tmp_path: Path
) -> None:
    (tmp_path / "never_ends.py").write_text(NEVER_ENDS)
    worker = start_worker(modules="never_ends", PYTHONPATH=str(tmp_path))
    worker.submit("busy")
    eventually(lambda: executors(worker), 20 + slack_s(), "an executor")
    worker.process.kill()
    eventually(lambda: not alive(worker.survivors()), 5 + slack_s(), "no survivors")
