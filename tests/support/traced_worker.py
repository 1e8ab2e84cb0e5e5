"""Starts the real worker under strace: to see in which order it does things, and to hurt it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

needs_strace = pytest.mark.skipif(
    not shutil.which("strace")
    or subprocess.run(["strace", "-o", "/dev/null", "true"], check=False).returncode != 0,
    reason="strace is not here, or may not trace",
)


def traced_python(directory: Path, *options: str) -> str:
    """Return a program that is Python under strace with these options, all its children too.

    The tracer steps aside: the pid is Python's own.
    """
    program = directory / "traced-python"
    words = " ".join(f"'{word}'" for word in ("strace", "-D", "-f", *options, sys.executable))
    program.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    program.chmod(0o700)
    return str(program)
