"""A secret is in the configuration and nowhere else."""

import json
from pathlib import Path

import pytest

from vera_supervisor.config import KEYS, Auth, Config, ConfigError, changes, load, shown
from vera_supervisor.config.keys import MASK
from vera_supervisor.config.kinds import UnfitError

SECRET = "Tr0ub4dor-and-3"  # the word that must not appear


def config_with(token: str | None) -> Config:
    return Config(auth=Auth(token=token))


def test_only_the_token_is_secret() -> None:
    assert {name for name, key in KEYS.items() if key.secret} == {"auth.token"}


def test_the_token_is_read_but_in_no_text_of_the_configuration() -> None:
    loaded = load(None, {"WORKER_TOKEN": SECRET}, {})
    assert loaded.config.auth.token == SECRET
    for text in (repr(loaded), str(loaded), repr(loaded.config), str(loaded.config.auth)):
        assert SECRET not in text


def test_what_is_shown_is_masked() -> None:
    assert shown(config_with(SECRET))["auth.token"] == MASK
    assert SECRET not in json.dumps(shown(config_with(SECRET)))
    assert shown(config_with(None))["auth.token"] is None


def test_a_change_of_the_token_is_seen_but_not_shown() -> None:
    (change,) = changes(config_with(SECRET), config_with(SECRET + "4"))
    assert change.key == "auth.token"
    assert SECRET not in repr(change) + str(change)


@pytest.mark.parametrize(
    "text",
    [
        f"[auth]\ntoken = '{SECRET} '\n",
        f"[auth]\ntoken = ['{SECRET}']\n",
        f"[auth]\ntoken = {{x = '{SECRET}'}}\n",
        f"[auth]\ntokn = '{SECRET}'\n",
        f"[auths]\ntoken = '{SECRET}'\n",
        f"auth = '{SECRET}'\n",
        f"[auth]\ntoken = '{SECRET}\n",
        f"[auth]\ntoken = {SECRET}\n",
        f"[auth]\ntoken = '{SECRET}' '{SECRET}'\n",
    ],
)
def test_no_fault_repeats_the_token(tmp_path: Path, text: str) -> None:
    file = tmp_path / "worker.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(file, {}, {})
    error = caught.value
    assert error.faults
    assert SECRET not in f"{error} {error!r} {error.faults}"


@pytest.mark.parametrize("token", [f"{SECRET} x", f"{SECRET}é"])
def test_no_fault_of_the_environment_repeats_the_token(token: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, {"WORKER_TOKEN": token}, {})
    assert SECRET not in str(caught.value) + repr(caught.value.faults)


def test_the_error_of_a_kind_carries_the_value_but_does_not_say_it() -> None:
    error = UnfitError(SECRET)
    assert error.found == SECRET
    assert SECRET not in str(error) + repr(error)


def test_no_chained_exception_repeats_the_token() -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, {"WORKER_TOKEN": f"{SECRET} x"}, {})
    link: BaseException | None = caught.value
    while link is not None:
        assert SECRET not in repr(link) + str(link)
        link = link.__cause__ or link.__context__
