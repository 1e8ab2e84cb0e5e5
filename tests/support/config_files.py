"""What comes of a configuration file in the present directory, and what is wrong with it."""

from pathlib import Path

import pytest

from vera_supervisor.config import Config, ConfigError, load


def loaded(text: str) -> Config:
    """Return the configuration that a file of this text makes, and nothing else."""
    Path("worker.toml").write_text(text, encoding="utf-8")
    return load(Path("worker.toml"), {}, {}).config


def faults(text: str) -> list[str]:
    """Return the faults of a file of this text, which must have one at least."""
    with pytest.raises(ConfigError) as caught:
        loaded(text)
    return [str(fault) for fault in caught.value.faults]
