"""What the supervisor does to an executor that is no more."""

import os
import socket
from typing import cast

from tests.fakes.on_loop import on_loop
from vera_supervisor.pool.executor import Executor
from vera_supervisor.pool.fork_servers import Process
from vera_supervisor.pool.launch import Launched, Launcher
from vera_supervisor.pool.memory import Sampled

#: No process ever has this id.
NOBODY = 2**22 + 1


class Ended:
    """A process that has ended."""

    pid = NOBODY


@on_loop
async def test_no_stack_is_written_for_one_that_has_ended() -> None:
    """Its descriptor may be that of another file by now, and would be emptied."""
    reader, writer = os.pipe()
    ours, theirs = socket.socketpair()
    other_file = os.memfd_create("not-its-stack")
    os.write(other_file, b"somebody's")
    process = cast("Process", Ended())
    launched = Launched(process, ours, reader, other_file, Sampled(NOBODY))
    executor = Executor(cast("Launcher", None), launched)
    try:
        executor.running = False
        executor.note_stack()
        assert os.pread(other_file, 100, 0) == b"somebody's"
    finally:
        executor.output.close()
        ours.close()
        theirs.close()
        os.close(writer)
        os.close(other_file)
