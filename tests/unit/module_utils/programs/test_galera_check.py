# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""HAProxy's health check of a Galera member over HTTP. Only the database driver is simulated."""

from __future__ import annotations

import importlib
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import HTTPServer
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

SYNCED = {
    "wsrep_cluster_status": "Primary",
    "wsrep_ready": "ON",
    "wsrep_local_state_comment": "Synced",
    "wsrep_cluster_size": "3",
}


class Driver(ModuleType):
    """Replaces `pymysql`. `answers`: the result of each query, a status or an error."""

    class Error(Exception):
        pass

    def __init__(self, answers: list[Any]) -> None:
        super().__init__("pymysql")
        self.answers, self.connections = answers, 0

    def connect(self, **options: Any) -> Any:
        assert options["password"] == "secret"
        self.connections += 1
        return SimpleNamespace(cursor=lambda: self)

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def execute(self, query: str) -> None:
        assert "wsrep_ready" in query
        self.answer = self.answers.pop(0)
        if isinstance(self.answer, Exception):
            raise self.answer

    def fetchall(self) -> list[tuple[str, str]]:
        return list(self.answer.items())


@pytest.fixture
def ask(monkeypatch, tmp_path) -> Iterator[Callable[[list[Any]], tuple[int, str, int]]]:
    """`ask(answers)`: status and text of the check, and its number of connections to the database."""
    (tmp_path / "password").write_text("secret")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    servers: list[HTTPServer] = []

    def run(answers: list[Any]) -> tuple[int, str, int]:
        driver = Driver(answers)
        monkeypatch.setitem(sys.modules, "pymysql", driver)
        name = "ansible_collections.cloudwatt.socle.plugins.module_utils.programs.galera_check"
        monkeypatch.delitem(sys.modules, name, raising=False)
        program = importlib.import_module(name)
        handler = type("Handler", (program.Handler,), {"database": program.Database()})
        servers.append(HTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{servers[-1].server_port}/"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return answer.status, answer.read().decode(), driver.connections
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode(), driver.connections

    yield run
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, 200),
        ({"wsrep_cluster_status": "non-Primary"}, 503),
        ({"wsrep_ready": "OFF"}, 503),
        ({"wsrep_local_state_comment": "Donor/Desynced"}, 503),
        ({"wsrep_local_state_comment": "Donor/Desynced", "wsrep_cluster_size": "1"}, 200),
        ({"wsrep_local_state_comment": "Joiner"}, 503),
    ],
)
def test_a_member_is_used_when_it_is_synced_or_alone(ask, change, status):
    assert ask([SYNCED | change])[0] == status


def test_a_lost_connection_is_opened_again(ask):
    assert ask([Driver.Error("gone away"), SYNCED])[::2] == (200, 2)


def test_a_database_that_does_not_answer_is_not_used(ask):
    status, text, _ = ask([Driver.Error("gone away"), OSError("no socket")])
    assert (status, text.strip()) == (503, "no socket")
