# ruff: noqa: RUF009 - key() returns a dataclass field
"""What can be configured of the service: who it is, where it listens, what it keeps."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from vera_supervisor.config.keys import key
from vera_supervisor.config.kinds import Choice, Each, Flag, Integer, Seconds, Size
from vera_supervisor.config.texts import GROUP, HOST, PATH, STORE_URL, TOKEN, WORKER_ID

_MIB: Final = 2**20


class LogLevel(StrEnum):
    """The least important message that is still logged."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"
    CRITICAL = "CRITICAL"


class LogFormat(StrEnum):
    """How a message of the log looks."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Worker:
    """Who this worker is."""

    id: str = key(
        "worker-1", WORKER_ID, "Name of this worker in records, logs and metrics.", env="WORKER_ID"
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """Where the REST API listens, and how long it waits."""

    host: str = key(
        "127.0.0.1",
        HOST,
        "Address to listen on; beyond loopback clients need a token, which is made.",
        env="WORKER_HOST",
    )
    port: int = key(
        5000, Integer(0, 65535), "Port to listen on; 0 takes any free one.", env="WORKER_PORT"
    )
    unix_socket: str | None = key(
        None,
        PATH,
        "Path of a Unix socket to listen on instead; for the worker's user alone.",
        example="/run/vera-worker/api.sock",
    )
    unix_socket_group: str | None = key(
        None,
        GROUP,
        "Group whose members may use that socket as well.",
        example="vera",
    )
    tls_cert: str | None = key(
        None,
        PATH,
        "File of the TLS certificate, with the chain up to its authority.",
        reloadable=True,
        example="/etc/vera-worker/tls.crt",
    )
    tls_key: str | None = key(
        None,
        PATH,
        "File of its private key, without a passphrase.",
        reloadable=True,
        example="/etc/vera-worker/tls.key",
    )
    tls_client_ca: str | None = key(
        None,
        PATH,
        "File of the authorities whose certificates clients must show; unset: none.",
        reloadable=True,
        example="/etc/vera-worker/clients.crt",
    )
    allowed_hosts: tuple[str, ...] = key(
        (),
        Each(HOST),
        "Host names, besides those of loopback, that clients may use for this worker.",
    )
    max_wait: float = key(
        300.0, Seconds(), "Seconds that a request may ask to wait for a task's end."
    )
    body_timeout: float = key(
        10.0,
        Seconds(positive=True),
        "Seconds that a client may take to send the body of its request.",
    )
    send_timeout: float = key(
        30.0,
        Seconds(positive=True),
        "Seconds that a client may take to read a piece of an answer.",
    )
    max_connections: int = key(
        800,
        Integer(16, 1_000_000),
        "Connections at most; fewer if the limit of open files leaves no more.",
    )
    max_peer_connections: int = key(
        500,
        Integer(1, 1_000_000),
        "Connections of one address, or of one user of the Unix socket, at most.",
    )
    event_history: int = key(
        10_000,
        Integer(0, 10_000_000),
        "Events kept in memory, so that a client that was cut off can resume its stream.",
    )
    event_backlog: int = key(
        1000,
        Integer(1, 1_000_000),
        "Events that a client may be behind before its event stream is closed.",
    )
    heartbeat: float = key(
        15.0,
        Seconds(positive=True),
        "Seconds of silence after which an event stream says that it is still there.",
    )
    drain_timeout: float = key(
        30.0, Seconds(), "Seconds that running tasks get to end when the worker stops."
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Auth:
    """Who may call the API; if a token is needed and none is set, one is made."""

    token: str | None = key(
        None,
        TOKEN,
        "Token that clients send as `Authorization: Bearer`; for everything.",
        env="WORKER_TOKEN",
        secret=True,
        reloadable=True,
        example="a-long-random-text",
    )
    token_file: str | None = key(
        None,
        PATH,
        "File that holds the token instead.",
        reloadable=True,
        example="/etc/vera-worker/token",
    )
    tokens_file: str | None = key(
        None,
        PATH,
        "File of more tokens; a line each: name, scopes (read,submit,admin), token.",
        reloadable=True,
        example="/etc/vera-worker/tokens",
    )
    open_metrics: bool = key(
        False, Flag(), "Whether /metrics and /metrics/prometheus answer without a token."
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Logging:
    """What is logged, and how."""

    level: LogLevel = key(
        LogLevel.INFO,
        Choice(LogLevel),
        "Least important messages to log: DEBUG, INFO, WARNING, ERROR or CRITICAL.",
        env="LOG_LEVEL",
        reloadable=True,
    )
    format: LogFormat = key(
        LogFormat.TEXT,
        Choice(LogFormat),
        "One line of text per message, or one JSON object: text or json.",
        env="LOG_FORMAT",
        reloadable=True,
    )
    task_output: bool = key(
        False,
        Flag(),
        "Whether what tasks print is logged as well, in the journal by the field VERA_TASK_ID.",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """How the worker watches over itself."""

    check_interval: float = key(
        30.0,
        Seconds(positive=True),
        "Seconds between two self-checks of the executors.",
        env="HEALTH_CHECK_INTERVAL",
        reloadable=True,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Store:
    """Where tasks are kept, so that none is lost."""

    url: str = key(
        "sqlite:///var/tasks.db",
        STORE_URL,
        'Database of the tasks, relative to the working directory; "memory:" for tests.',
        env="STORE_URL",
    )
    result_ttl: float = key(
        86400.0, Seconds(), "Seconds that a task is kept after its end.", env="RESULT_TTL"
    )
    max_bytes: int = key(256 * _MIB, Size(_MIB), "Size up to which the store may grow.")
