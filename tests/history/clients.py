"""Clients that submit without pause and write down what they heard, while the worker is killed."""

import itertools
import random
import threading
from typing import Any, Final

import httpx

from tests.history.history import Heard, Said, Seen

#: Longest that a client waits for an answer of a worker that is alive.
_PATIENCE_S: Final = 60.0
_TOO_MANY_S: Final = 0.02


class Clients:
    """Several threads that each talk to the worker at `url` until they are told to stop."""

    def __init__(self, count: int, seed: int) -> None:
        self.said: list[Said] = []
        self.seen: list[Seen] = []
        self.errors: list[str] = []
        self._count = count
        self._random = random.Random(seed)
        self._numbers = itertools.count()
        #: Asked for and not known to be accepted: to be asked for again.
        self._open: list[tuple[str, dict[str, Any]]] = []
        self._lock = threading.Lock()
        self._answers = threading.Semaphore(0)

    def talk(self, url: str, stop: threading.Event) -> list[threading.Thread]:
        """Start all clients; they end when the worker is gone or `stop` is set."""
        threads = [
            threading.Thread(target=self._client, args=(url, stop)) for _ in range(self._count)
        ]
        for thread in threads:
            thread.start()
        return threads

    def _client(self, url: str, stop: threading.Event) -> None:
        with httpx.Client(base_url=url, timeout=_PATIENCE_S, trust_env=False) as client:
            while not stop.is_set():
                task_id, body = self._next()
                try:
                    answer = client.post("/task/submit", json={"task_id": task_id, **body})
                except httpx.HTTPError:
                    self._note(task_id, body, Heard.NOTHING)
                    return
                heard = self._take(task_id, body, answer)
                if heard is Heard.REFUSED:
                    stop.wait(_TOO_MANY_S)
                elif not self._look(client, task_id):
                    return

    def _next(self) -> tuple[str, dict[str, Any]]:
        with self._lock:
            if self._open and self._random.random() < 0.5:
                return self._open.pop(self._random.randrange(len(self._open)))
            function, args = self._random.choice(
                [
                    ("noted", []),
                    ("noted", [0.01]),
                    ("noted_once", []),
                    ("noted_once", []),
                    ("noted_once", [0.01]),
                    ("noted_death", []),
                ]
            )
            priority = self._random.choice(("critical", "normal", "normal", "low"))
            body = {"payload": {"function": function, "args": args}, "priority": priority}
            return f"t{next(self._numbers)}", body

    def _take(self, task_id: str, body: dict[str, Any], answer: httpx.Response) -> Heard:
        if answer.status_code in (200, 202):
            heard = Heard.ACCEPTED
        else:
            heard = Heard.REFUSED
            if answer.status_code not in (429, 503):
                self.errors.append(f"{answer.status_code} for {task_id}: {answer.text}")
        self._note(task_id, body, heard)
        return heard

    def _note(self, task_id: str, body: dict[str, Any], heard: Heard) -> None:
        with self._lock:
            self.said.append(Said(task_id, body["payload"]["function"], heard))
            if heard is not Heard.ACCEPTED:
                self._open.append((task_id, body))
        self._answers.release()

    def wait_for_answers(self, count: int, timeout_s: float) -> None:
        """Return after `count` further answers, or when they are long in coming."""
        for _ in range(count):
            if not self._answers.acquire(timeout=timeout_s):
                return

    def _look(self, client: httpx.Client, task_id: str) -> bool:
        """Read the record of an accepted task now and then; return whether the worker is there."""
        with self._lock:
            if self._random.random() < 0.5:
                return True
        try:
            answer = client.get(f"/task/{task_id}")
        except httpx.HTTPError:
            return False
        if answer.status_code == 200:
            record = answer.json()
            if record["completed_at"] is not None:
                self.seen.append(Seen(task_id, record["status"], record["result"]))
        else:
            self.errors.append(f"{answer.status_code} for GET {task_id}: {answer.text}")
        return True
