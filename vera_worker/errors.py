"""Every error that vera-worker raises on purpose, in one tree."""


class VeraError(Exception):
    """Base of all errors of vera-worker."""


class IllegalMove(VeraError):
    """A task was asked to make a move that its state does not have: a bug, never a user's fault."""


class FrameError(VeraError):
    """The bytes on a link are not frames of ours; that link cannot be trusted any more."""


class NoCurrentTask(VeraError):
    """`current_task()` was called outside of a running task."""


class ModuleLoadError(VeraError):
    """A configured task module could not be imported, or what it offers cannot be registered."""

    def __init__(self, module: str, reason: str, traceback: str = "") -> None:
        super().__init__(f"task module {module!r} cannot be loaded: {reason}")
        self.module = module
        self.reason = reason
        self.traceback = traceback


class WarmUpFailed(VeraError):
    """The warm-up of a pool raised something: the executor that called it takes no tasks."""

    def __init__(self, function: str, reason: str, traceback: str = "") -> None:
        super().__init__(f"warm-up {function!r} failed: {reason}")
        self.function = function
        self.reason = reason
        self.traceback = traceback


class SandboxUnavailable(VeraError):
    """An attempt cannot be confined as its function wants; it was not run."""
