"""What both clients share around httpx: how it is set up, and what its errors mean."""

import re
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from vera_client.answers import Answer
from vera_client.calls import Call
from vera_client.errors import WorkerUnreachable

DEFAULT_URL: Final = "http://127.0.0.1:5000"
_UNIX: Final = "unix:"

#: Seconds to connect, and for an answer that is not held back on purpose.
CONNECT_S: Final = 5.0
ANSWER_S: Final = 30.0
#: Seconds that one request waits for a task; proxies tend to cut what is silent for longer.
HOLD_S: Final = 50.0
#: Seconds at least between two requests that wait for the same task.
BETWEEN_S: Final = 1.0
#: The worker closes an idle connection after 10 seconds; not to use it then, we do so before.
IDLE_S: Final = 4.0

# Never through a proxy from the environment.
_DIRECT: Final = dict.fromkeys(("all://127.0.0.1", "all://localhost", "all://[::1]"))

#: As `[Errno 111] Connection refused`, or `[SSL: …] certificate verify failed: … (_ssl.c:1)`.
_SYSTEM_WORDS: Final = re.compile(r"\[(?:Errno|SSL).*?\] (.*?)(?: \(_ssl\.c:\d+\))?")

# The connection broke after it had been made: a restart, or an idle one closed just then.
_BROKE: Final = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)


def checked_url(url: str) -> str:
    """Return a worker's address without its last slash; raise ValueError if it is none."""
    if socket_path(url):
        return url
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(f"a worker's address looks like {DEFAULT_URL}, not like {url!r}")
    return url.rstrip("/")


def socket_path(url: str) -> str | None:
    """Return the path of the Unix socket that an address names, as in `unix:/run/api.sock`."""
    return url.removeprefix(_UNIX) if url.startswith(_UNIX + "/") else None


def settings(url: str, token: str | None, tls: Any, connections: int) -> dict[str, Any]:
    """Return what httpx's two clients are made with; raise ValueError on what cannot be used."""
    return {
        "base_url": "http://localhost" if socket_path(url) else checked_url(url),
        "headers": {"Authorization": f"Bearer {_checked_token(token)}"} if token else {},
        "timeout": httpx.Timeout(ANSWER_S, connect=CONNECT_S, pool=None),
        "limits": httpx.Limits(max_connections=connections, keepalive_expiry=IDLE_S),
        # Loading the machine's certificates takes longer than most calls over plain HTTP.
        "verify": tls or url.startswith("https:"),
        "mounts": _DIRECT,
    }


def _checked_token(token: str) -> str:
    token = token.strip()
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError("a token is one word of plain ASCII; is it the file's name or two tokens?")
    return token


def request_of(call: Call[Any], http: httpx.Client | httpx.AsyncClient) -> httpx.Request:
    """Return the request that `call` stands for."""
    silent_s = None if call.held_s is None else ANSWER_S + call.held_s
    return http.build_request(
        call.method,
        call.path,
        params=call.query,
        content=call.body,
        headers={**call.headers, **_media_type(call)},
        timeout=httpx.Timeout(silent_s, connect=CONNECT_S, pool=None),
    )


def _media_type(call: Call[Any]) -> dict[str, str]:
    return {} if call.body is None else {"Content-Type": call.media_type}


def answer_of(response: httpx.Response) -> Answer:
    """Return what came back; the body must have been read."""
    return Answer(response.status_code, response.headers, response.content)


def worth_repeating(call: Call[Any], error: httpx.RequestError) -> bool:
    """Tell whether to send `call` again at once after `error`."""
    return call.repeatable and isinstance(error, _BROKE)


def unreachable(url: str, error: httpx.RequestError) -> WorkerUnreachable:
    """Return the error that a user can read."""
    match error:
        case httpx.ConnectTimeout():
            reason = f"no connection within {CONNECT_S:g} s"
        case httpx.TimeoutException():
            reason = "it did not answer in time"
        case httpx.ConnectError():
            reason = "the connection failed"
        case _:
            reason = "the connection broke"
    # asyncio's own words name every address tried; the plain ones say what the matter is.
    said = _SYSTEM_WORDS.fullmatch(str(error))
    detail = said[1] if said else ""
    return WorkerUnreachable(url, f"{reason} ({detail})" if detail else reason)


class Polls:
    """Divides a long wait into requests: how long each may be held, and the pause before it."""

    def __init__(self, at_most: float | None, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._end = None if at_most is None else now() + at_most
        self._last = -BETWEEN_S

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return self._end is not None and self._now() >= self._end

    def hold(self) -> float:
        """Return the seconds for the next request, which is made now."""
        self._last = self._now()
        return HOLD_S if self._end is None else max(0.0, min(HOLD_S, self._end - self._last))

    def pause(self) -> float:
        """Return the seconds to sleep first: a worker that stops holds nothing back."""
        pause = max(0.0, self._last + BETWEEN_S - self._now())
        return pause if self._end is None else min(pause, max(0.0, self._end - self._now()))
