"""A machine with a kernel of its own, for what this machine's kernel cannot show.

`VERA_UML_BOX` names a program that runs one: `up`, `share` (print a folder that the machine sees as
/host), `exec`, `crash` (a power cut), `up --keep-disk`, `down`.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
BOX: Final = os.environ.get("VERA_UML_BOX")
#: Where the machine finds the worker, and all that it needs.
PLACE: Final = "/opt/vera"


class Machine:
    """One such machine, by a name that no other has."""

    def __init__(self, name: str) -> None:
        self._environment = os.environ | {"UML_BOX_NAME": name}

    def do(self, verb: str, *arguments: str) -> str:
        """Have the machine's program do something, which must succeed; return what it printed."""
        done = subprocess.run(
            [str(BOX), verb, *arguments],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @property
    def share(self) -> Path:
        """A folder of ours that the machine sees as /host."""
        return Path(self.do("share").strip())

    def install(self) -> None:
        """Put the worker as it is now on the machine's disk, with all that it needs."""
        version = self.do(
            "exec", "python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"
        )
        site = self.share / "site"
        pip = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--target",
            str(site),
        ]
        pinned = ["--only-binary=:all:", "--python-version", version.strip(), "--require-hashes"]
        requirements = ["-r", str(ROOT / "requirements" / "runtime.txt")]
        subprocess.run([*pip, *pinned, *requirements], check=True)
        subprocess.run([*pip, "--no-build-isolation", str(ROOT)], check=True)
        self.do("exec", "sh", "-c", f"cp -r /host/site {PLACE}; sync")
