"""Numbered changes of the schema; a database remembers the last one that was made to it."""

import sqlite3
from collections.abc import Iterator
from importlib.resources import files
from typing import Final

from vera_supervisor.store.protocol import StoreUnavailable

#: Marks a database as one of ours: "vera".
APPLICATION_ID: Final = 0x76657261


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a database up to date, each change in one transaction; raise StoreUnavailable."""
    ((version,),) = connection.execute("pragma user_version")
    migrations = _migrations()
    if version > len(migrations):
        raise StoreUnavailable(
            f"its schema is {version} and this vera-worker knows up to {len(migrations)}: "
            f"run the newer version that wrote it"
        )
    for number in range(version, len(migrations)):
        connection.execute("begin exclusive")
        for statement in statements(migrations[number]):
            connection.execute(statement)
        connection.execute(f"pragma application_id = {APPLICATION_ID}")
        connection.execute(f"pragma user_version = {number + 1}")
        connection.execute("commit")


def schema() -> list[tuple[str, str, str]]:
    """Return type, name and SQL of everything in a database that is up to date."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        migrate(connection)
        return schema_of(connection)
    finally:
        connection.close()


def schema_of(connection: sqlite3.Connection) -> list[tuple[str, str, str]]:
    """Return type, name and SQL of everything in a database."""
    return connection.execute("select type, name, sql from sqlite_schema order by name").fetchall()


def statements(script: str) -> Iterator[str]:
    """Yield the statements of a script."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _migrations() -> list[str]:
    found = [file for file in files(__name__).iterdir() if file.name.endswith(".sql")]
    return [file.read_text() for file in sorted(found, key=lambda file: file.name)]
