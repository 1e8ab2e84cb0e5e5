"""The kinds of text that keys hold."""

import re
from ipaddress import ip_address
from typing import Final

from vera_supervisor.config.kinds import Text
from vera_supervisor.recurrence import is_cron, is_timezone
from vera_worker.tasks import DEFAULT_POOL

_LONGEST_ID: Final = 128
_LABEL: Final = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST_NAME: Final = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*")
_VISIBLE: Final = re.compile("[!-~]+")
_TABLE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def _is_printable(text: str) -> bool:
    return bool(text.strip()) and text.isprintable()


def _is_worker_id(text: str) -> bool:
    return _is_printable(text) and len(text) <= _LONGEST_ID


def _is_host(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        last = text.rpartition(".")[2]
        # A last label of digits only is a mistyped IPv4 address, never a name.
        return bool(_HOST_NAME.fullmatch(text)) and not last.isdigit()
    return True


def _is_module(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def _is_store_url(text: str) -> bool:
    scheme, slashes, file = text.partition(":///")
    return text == "memory:" or (scheme == "sqlite" and bool(slashes) and _is_printable(file))


def _is_table_name(text: str) -> bool:
    return bool(_TABLE_NAME.fullmatch(text))


def _is_pool_name(text: str) -> bool:
    return _is_table_name(text) and text != DEFAULT_POOL


def _is_warm_up(text: str) -> bool:
    return "." in text and _is_module(text)


def _is_token(text: str) -> bool:
    return bool(_VISIBLE.fullmatch(text))


WORKER_ID: Final = Text("a text of 1 to 128 printable characters", _is_worker_id)
HOST: Final = Text("a host name or an IP address, without a port", _is_host)
GROUP: Final = Text("the name of a group of users", _is_printable)
PATH: Final = Text("the path of a file", _is_printable)
MODULE: Final = Text('the name of a Python module, such as "package.tasks"', _is_module)
FUNCTION: Final = Text("the name of a function", _is_printable)
WARM_UP: Final = Text(
    'the name of a function with that of its module, such as "package.tasks.load"', _is_warm_up
)
POOL_NAME: Final = Text(
    f'a name of 1 to 64 letters, digits, "_" and "-" other than "{DEFAULT_POOL}", '
    "which is that of [executor]",
    _is_pool_name,
)
SCHEDULE_NAME: Final = Text('a name of 1 to 64 letters, digits, "_" and "-"', _is_table_name)
CRON: Final = Text(
    'a cron expression of five fields that is due at some time, such as "30 3 * * MON-FRI"',
    is_cron,
)
TIMEZONE: Final = Text('a time zone of this machine, such as "Europe/Berlin"', is_timezone)
STORE_URL: Final = Text('"sqlite:///" and the path of a file, or "memory:"', _is_store_url)
TOKEN: Final = Text("a text of visible ASCII characters without spaces", _is_token)
