"""Puts one mutant after another into a copy of this repository and sees whether a test fails.

`python -m tests.mutants.run [WORD ...]` takes those of a check (`D2`), or with a word in their
fault or the name of their file; all without any. Its status is 1 if a mutant was not noticed.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from pathlib import Path
from typing import Final

from tests.mutants.table import ROOT, Mutant, mutants

#: What the code is imported from, in the copy.
SOURCES: Final = (".", "supervisor", "executor", "client")
#: pytest's exit status when tests ran and some failed.
_SOME_FAILED: Final = 1


class Copy:
    """A copy of the repository, with an interpreter that imports from nowhere else."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout
        for name in filter(None, names.decode().split("\0")):
            if (ROOT / name).is_file():
                (directory / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, directory / name)
        venv.create(directory / ".venv", symlinks=True)
        # Listed in a file, the packages' own such files are not read: they name the original.
        paths = [str(directory / source) for source in SOURCES] + [sysconfig.get_path("purelib")]
        (site,) = (directory / ".venv").glob("lib/python*/site-packages")
        (site / "copy.pth").write_text("\n".join(paths))

    def passes(self, tests: list[str]) -> bool:
        """Return whether all of these tests pass; raise RuntimeError where they cannot be run."""
        ran = subprocess.run(
            [self._directory / ".venv" / "bin" / "python", "-m", "pytest", "-qx", *tests],
            cwd=self._directory,
            # Two sources of one length and one second would have one bytecode.
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode not in (0, _SOME_FAILED):
            raise RuntimeError(ran.stdout + ran.stderr)
        return ran.returncode == 0

    def notices(self, mutant: Mutant) -> bool:
        """Return whether a test of the mutant's fails; raise RuntimeError where none can run."""
        file = self._directory / mutant.file
        source = file.read_text()
        file.write_text(mutant.applied_to(source))
        try:
            return not self.passes(mutant.tests)
        finally:
            file.write_text(source)


def main(words: list[str]) -> int:
    """Try the mutants that have one of these words; return the exit status."""
    chosen = [mutant for mutant in mutants() if not words or mutant.has_one_of(words)]
    with tempfile.TemporaryDirectory() as directory:
        copy = Copy(Path(directory))
        if not copy.passes(sorted({test for mutant in chosen for test in mutant.tests})):
            say("some of these tests fail without any mutant")
            return 1
        noticed = 0
        for mutant in chosen:
            began = time.monotonic()
            found = copy.notices(mutant)
            noticed += found
            verdict = "noticed" if found else "NOT NOTICED"
            say(f"{verdict:<12} {time.monotonic() - began:5.1f} s  {mutant}")
    say(f"{noticed} of {len(chosen)} mutants were noticed")
    return int(noticed < len(chosen))


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
