"""Memory that was used for something large is given back when that is gone."""

import os
import subprocess
import sys

import pytest

#: As answers come and go: the last of them is there when the others have left.
PROGRAM = """
from vera_supervisor.heap import return_large_blocks

def rss_mib():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 >> 20

return_large_blocks()
del (first := [b"x" * (16 << 20)])[:]
answers = [b"x" * ((8 << 20) + n) for n in range(20)]
before = rss_mib()
del answers[:-1]
print(before - rss_mib())
"""


@pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="it is not glibc")
def test_what_is_large_goes_back_to_the_system_in_any_order() -> None:
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True)
    assert int(run.stdout) > 140, "MiB of 19 times 8"
