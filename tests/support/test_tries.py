"""Each try of a test has its whole time, and begins with nothing of the one before it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HANGS = "import time\n\ndef test(): time.sleep(600)\n"
HANGS_AT_THE_END = """
import pytest, time

@pytest.fixture
def stubborn():
    yield
    time.sleep(600)

def test(stubborn): assert False
"""
SPOILS_WHAT_IS_SHARED = """
import pytest

@pytest.fixture(scope="session")
def session(): return []

@pytest.fixture(scope="module")
def module(session):
    session.append("made")
    yield []
    session.append("ended")

def test(session, module):
    module.append("a try")
    assert (session, module) == (["made", "ended", "made"], ["a try"])
"""


@pytest.mark.parametrize(
    ("test", "timeout_s", "end"),
    [
        (HANGS, 1, "1 failed, 1 rerun"),
        (HANGS_AT_THE_END, 2, "1 failed, 1 error, 2 rerun"),
        (SPOILS_WHAT_IS_SHARED, 60, "1 passed, 1 rerun"),
    ],
    ids=["hangs", "hangs at the end", "spoils what is shared"],
)
def test_a_test_that_fails_is_tried_again_as_if_it_were_the_first_time(
    tmp_path: Path, test: str, timeout_s: int, end: str
) -> None:
    (tmp_path / "test_it.py").write_text(test)
    options = ("-p", "tests.conftest", "-p", "no:cacheprovider", "-c", "/dev/null")
    tries = ("--reruns=1", f"--timeout={timeout_s}", "--timeout-method=signal")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *tries, "--rootdir", tmp_path, tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert end in ran.stdout.splitlines()[-1], ran.stdout
