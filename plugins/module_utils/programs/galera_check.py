# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""HAProxy's health check: answer 200 while the local MariaDB may take reads and writes, else 503.

A node is usable if it belongs to the primary component and is synced. A donor is not used, because its state
transfer slows it down, unless it is the only node.
Usage: galera-check ADDRESS PORT; the password of user galera_check is systemd's credential `password`.
"""

from __future__ import annotations

import os
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pymysql

SOCKET = "/run/mysqld/mysqld.sock"
QUERY = (
    "SHOW STATUS WHERE Variable_name IN "
    "('wsrep_cluster_status', 'wsrep_local_state_comment', 'wsrep_ready', 'wsrep_cluster_size')"
)


class Database:
    """A persistent connection to the local server, opened again when it is lost."""

    def __init__(self) -> None:
        self.connection: pymysql.Connection | None = None
        self.password = (Path(os.environ["CREDENTIALS_DIRECTORY"]) / "password").read_text()

    def status(self) -> dict[str, str]:
        for attempt in (1, 2):
            try:
                if self.connection is None:
                    self.connection = pymysql.connect(
                        unix_socket=SOCKET, user="galera_check", password=self.password, read_timeout=2
                    )
                with self.connection.cursor() as cursor:
                    cursor.execute(QUERY)
                    return dict(cursor.fetchall())
            except (pymysql.Error, OSError):
                self.connection = None
                if attempt == 2:
                    raise
        return {}


def usable(status: dict[str, str]) -> bool:
    if status.get("wsrep_cluster_status") != "Primary" or status.get("wsrep_ready") != "ON":
        return False
    return status.get("wsrep_local_state_comment") == "Synced" or status.get("wsrep_cluster_size") == "1"


class Handler(BaseHTTPRequestHandler):
    """Answers any GET with the state of the server."""

    database: Database
    timeout = 5

    def do_GET(self) -> None:
        try:
            status = self.database.status()
            code, text = (200 if usable(status) else 503), str(status)
        except (pymysql.Error, OSError) as error:
            code, text = 503, str(error)
        # In a single write, because HAProxy closes the connection as soon as it has read the status.
        reason = "OK" if code == 200 else "Service Unavailable"
        self.wfile.write(f"HTTP/1.0 {code} {reason}\r\n\r\n{text}\n".encode())

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: HAProxy logs the changes, and sends a request every two seconds."""


if __name__ == "__main__":
    Handler.database = Database()
    HTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
