"""Tasks that wait for what a test does."""

import time
from pathlib import Path

_LOOK_S = 0.02


def wait_for_file(path: str) -> None:
    """Run until a file is there; then make one whose name says so."""
    while not Path(path).exists():
        time.sleep(_LOOK_S)
    Path(f"{path}.seen").touch()


def fail_once(path: str) -> None:
    """Fail the first time, and leave a file by which the next one knows."""
    if not Path(path).exists():
        Path(path).touch()
        raise RuntimeError("once")
