"""The child's end of the link, alone."""

import socket

from vera_executor.main import Channel


def test_a_default_timeout_of_the_task_modules_does_not_make_the_link_impatient() -> None:
    """With one, an executor that idles for longer would take the link for dead."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(5.0)  # as the socket comes into a process with such a default
        Channel(theirs, 1000)
        assert theirs.gettimeout() is None
