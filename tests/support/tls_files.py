"""Certificates and keys, copied to where a test may change them; their keys are private there."""

import shutil
from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).parent / "certificates"


class TlsFiles(NamedTuple):
    """The files of one directory."""

    directory: Path

    @property
    def authority(self) -> str:
        """Who has signed all of them."""
        return str(self.directory / "authority.crt")

    def cert(self, name: str) -> str:
        """Return the certificate of `worker`, `renewed` or `client`."""
        return str(self.directory / f"{name}.crt")

    def key(self, name: str) -> str:
        """Return its private key."""
        return str(self.directory / f"{name}.key")

    def install(self, source: str, target: str) -> None:
        """Put the certificate and key of one name in the place of those of another."""
        for end in ("crt", "key"):
            shutil.copy(SOURCE / f"{source}.{end}", self.directory / f"{target}.{end}")
        (self.directory / f"{target}.key").chmod(0o600)


def tls_files(directory: Path) -> TlsFiles:
    """Return copies of all files."""
    shutil.copytree(SOURCE, directory / "tls")
    for key in (directory / "tls").glob("*.key"):
        key.chmod(0o600)
    return TlsFiles(directory / "tls")
