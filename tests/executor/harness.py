"""A real executor in a real process, at the other end of a real link; no supervisor."""

import json
import os
import re
import select
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Self

from vera_executor import main
from vera_worker import process_tree, wire
from vera_worker.framing import FrameReader

HERE: Final = Path(__file__).parent
#: Nothing here takes so long, unless it is broken.
PATIENCE_S: Final = 60.0
SAMPLES: Final = (
    "vera_executor.demo",
    "vera_executor.demo_faults",
    "sample_tasks",
    "untidy_tasks",
)
MAX_PAYLOAD_BYTES: Final = 1024 * 1024
MAX_RESULT_BYTES: Final = 1024 * 1024

_SERVE: Final = """
import socket, sys
from tests.executor.stand_in import serve
with socket.socket(fileno=int(sys.argv[1])) as control:
    serve(control, sys.argv[2])
"""


def await_readable(fd: int, what: str) -> None:
    """Wait until `fd` can be read; fail when that takes too long."""
    assert select.select([fd], [], [], PATIENCE_S)[0], f"waited in vain for {what}"


class Watched:
    """Another process, known by a descriptor, so that no other pid is mistaken for it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._fd: int | None = None
        with suppress(ProcessLookupError):  # it is gone already
            self._fd = os.pidfd_open(pid)

    def await_death(self) -> None:
        if self._fd is not None:
            await_readable(self._fd, f"the death of process {self.pid}")

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


@contextmanager
def watching(*pids: int) -> Iterator[list[Watched]]:
    """Watch processes from now on."""
    watched = [Watched(pid) for pid in pids]
    try:
        yield watched
    finally:
        for process in watched:
            process.close()


class Child:
    """An executor, and the supervisor's ends of all that connects the two."""

    def __init__(
        self, pid: int, exit_fd: int, link: socket.socket, output_fd: int, stack_fd: int
    ) -> None:
        self.pid = pid
        self.link = link
        self.reports: list[wire.Reported] = []
        self._exit_fd, self._output_fd, self._stack_fd = exit_fd, output_fd, stack_fd
        self._frames = FrameReader(MAX_RESULT_BYTES + wire.ENVELOPE_BYTES)
        self._received: deque[wire.FromExecutor] = deque()
        self._tasks = 0
        self._closed = False
        os.set_blocking(output_fd, False)

    def receive(self) -> wire.FromExecutor | None:
        """Return the next message; None when the executor has closed the link."""
        while not self._received:
            await_readable(self.link.fileno(), "a message")
            try:
                data = self.link.recv(65536)
            except ConnectionResetError:  # it left without reading all that was sent to it
                data = b""
            if not data:
                return None
            self._received.extend(map(wire.decode_from_executor, self._frames.feed(data)))
        return self._received.popleft()

    @property
    def torn_bytes(self) -> int:
        return self._frames.pending_bytes

    def ready(self) -> wire.Ready:
        message = self.receive()
        assert isinstance(message, wire.Ready), message
        return message

    def send(self, *messages: wire.ToExecutor) -> None:
        self.link.sendall(b"".join(map(wire.pack, messages)))

    def assign(
        self, function: str, *args: Any, memory_bytes: int | None = None, **kwargs: Any
    ) -> wire.Assign:
        """Send a task and return what was sent."""
        self._tasks += 1
        call = {"function": function, "args": args, "kwargs": kwargs}
        payload = json.dumps(call).encode()
        assign = wire.Assign(f"task-{self._tasks}", 1, function, payload, 300.0, memory_bytes)
        self.send(assign)
        return assign

    def answer(self) -> wire.Returned | wire.Raised | None:
        """Return how the running task ended; None when the executor was lost with it."""
        while True:
            match self.receive():
                case wire.Reported() as report:
                    self.reports.append(report)
                case wire.Returned() | wire.Raised() as answer:
                    return answer
                case None:
                    return None
                case other:
                    raise AssertionError(other)

    def run(self, function: str, *args: Any, **kwargs: Any) -> wire.Returned | wire.Raised | None:
        self.assign(function, *args, **kwargs)
        return self.answer()

    def call(self, function: str, *args: Any, **kwargs: Any) -> Any:
        """Return the result of a task that must succeed."""
        answer = self.run(function, *args, **kwargs)
        assert isinstance(answer, wire.Returned), answer
        return json.loads(answer.result)

    def failure(self, function: str, *args: Any, **kwargs: Any) -> wire.Raised:
        """Return how a task failed that must fail, in an executor that lives on."""
        answer = self.run(function, *args, **kwargs)
        assert isinstance(answer, wire.Raised), answer
        return answer

    def printed(self) -> str:
        """Return what the output pipe holds now."""
        data = b""
        with suppress(BlockingIOError):
            while block := os.read(self._output_fd, 65536):
                data += block
        return data.decode()

    def await_line(self) -> str:
        """Wait for the running task to print a line, and return what it printed."""
        printed = ""
        while "\n" not in printed:
            await_readable(self._output_fd, "a line of output")
            printed += self.printed()
        return printed

    def await_stack(self, word: str) -> str:
        """Wait until `word` has been written to the stack file, and return what precedes it too."""
        written = ""
        while word not in written:
            await_readable(self._stack_fd, f"{word!r} in this stack: {written}")
            block = os.read(self._stack_fd, 65536)
            assert block, f"no {word!r} in this stack: {written}"
            written += block.decode()
        return written

    def stack_in(self, function: str) -> str:
        """Ask for stacks until the running task has come as far as `function`.

        Not before the executor stands still or turns in a loop: the handler reads the frames as
        they are, and may crash on one that is just being entered. Where stacks are asked for in
        earnest, before a kill, that takes nothing from anybody.
        """
        self._await_standstill()
        stack = ""
        end = time.monotonic() + PATIENCE_S
        while f" in {function}\n" not in stack:
            assert time.monotonic() < end, f"{function} is never in {stack}"
            os.kill(self.pid, main.STACK_SIGNAL)
            # One asked for just when the last one ends may be dropped: then ask again.
            if select.select([self._stack_fd], [], [], 0.2)[0]:
                stack = self.await_stack("<module>\n")
        return stack

    def _await_standstill(self) -> None:
        """Wait until all threads of the executor sleep for good, or one has computed for long."""
        first_s, _ = before = self._activity()
        end = time.monotonic() + PATIENCE_S
        while True:
            select.select([self._exit_fd], [], [], 0.05)
            cpu_s, asleep = now = self._activity()
            if cpu_s - first_s > 0.2 or (asleep and now == before):
                return
            before = now
            assert time.monotonic() < end, "the executor neither sleeps nor computes"

    def _activity(self) -> tuple[float, bool]:
        """Return the CPU time that the executor has used in seconds, and whether it all sleeps."""
        ticks, asleep = 0, True
        for file in Path(f"/proc/{self.pid}/task").glob("*/stat"):
            try:
                state, *fields = file.read_text().rpartition(")")[2].split()
            except OSError:  # this thread has ended in between
                asleep = False
                continue
            ticks += int(fields[10]) + int(fields[11])
            asleep = asleep and state == "S"
        return ticks / os.sysconf("SC_CLK_TCK"), asleep

    def await_status(self, line: str) -> None:
        """Wait until /proc says this of the executor, for what nothing else tells."""
        end = time.monotonic() + PATIENCE_S
        with open(f"/proc/{self.pid}/status", encoding="ascii") as file:
            while not re.search(line, file.read(), re.MULTILINE):
                file.seek(0)
                assert time.monotonic() < end, f"waited in vain for {line}"

    def await_descendants(self, count: int) -> None:
        """Wait until so many processes descend from the executor."""
        end = time.monotonic() + PATIENCE_S
        while (now := len(process_tree.descendants(self.pid))) != count:
            assert now < count, f"there are {now} processes, and not {count}"
            assert time.monotonic() < end, f"there are only {now} processes"

    def peak_kib(self) -> int:
        """Return the most memory that the executor has ever had."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))

    def await_exit(self) -> int:
        """Return the exit code, or the number of the signal that killed it as a negative one."""
        await_readable(self._exit_fd, "the exit of the executor")
        return int.from_bytes(os.read(self._exit_fd, 8), sys.byteorder, signed=True)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if not select.select([self._exit_fd], [], [], 0)[0]:
            process_tree.kill_tree(self.pid)
        self.link.close()
        for fd in (self._exit_fd, self._output_fd, self._stack_fd):
            os.close(fd)


class StandIn:
    """The process that stands in for the supervisor, with a fork server of its own."""

    def __init__(self, *preload: str, path: Path | None = None, coverage: bool = True) -> None:
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        paths = [str(HERE), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")]
        if path is not None:
            paths.append(str(path))
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
        environment.pop("PYTHONUNBUFFERED", None)  # it would hide what is not flushed
        if not coverage:
            environment = {k: v for k, v in environment.items() if not k.startswith("COVERAGE_")}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, str(theirs.fileno()), ",".join(preload)],
            env=environment,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()
        self.server_pid = 0
        self._requests = 0
        self._children: list[Child] = []

    def start(
        self,
        *modules: str,
        path: Path | None = None,
        max_payload_bytes: int = MAX_PAYLOAD_BYTES,
        max_result_bytes: int = MAX_RESULT_BYTES,
        **settings: object,
    ) -> Child:
        """Start an executor for `modules`, which may lie in `path`."""
        link, their_link = socket.socketpair()
        output_fd, their_output_fd = os.pipe()
        # The supervisor takes a file; on a pipe a test can wait.
        stack_fd, their_stack_fd = os.pipe()
        self._requests += 1
        request = {
            "number": self._requests,
            "settings": {
                "modules": modules,
                "max_payload_bytes": max_payload_bytes,
                "max_result_bytes": max_result_bytes,
                **settings,
            },
            "paths": [] if path is None else [str(path)],
        }
        with their_link:
            fds = [their_link.fileno(), their_output_fd, their_stack_fd]
            socket.send_fds(self.control, [json.dumps(request).encode()], fds)
        os.close(their_output_fd)
        os.close(their_stack_fd)
        number = 0
        while number < self._requests:  # an answer that nobody waited for may come first
            await_readable(self.control.fileno(), "an executor to start")
            answer, (exit_fd,), _, _ = socket.recv_fds(self.control, 65536, 1)
            number, pid, self.server_pid = map(int, answer.split())
        self._children.append(Child(pid, exit_fd, link, output_fd, stack_fd))
        return self._children[-1]

    def kill(self) -> None:
        """Die as a supervisor does on `kill -9`."""
        self._process.kill()
        self._process.wait(PATIENCE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children:
            child.close()
        self.control.close()
        if self._process.poll() is None and self.server_pid:
            with watching(self.server_pid) as (server,):
                self._process.wait(PATIENCE_S)
                server.await_death()
        self._process.wait(PATIENCE_S)
