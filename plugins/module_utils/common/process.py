# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Run a program."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Completed:
    """The end of a program: its exit code (127: not found, 124: timed out) and its output."""

    argv: Sequence[str]
    rc: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        return self.rc == 0

    @property
    def output(self) -> str:
        """Return both streams, as a terminal would show them."""
        return "\n".join(text.strip() for text in (self.stdout, self.stderr) if text.strip())


def run(
    argv: Sequence[str],
    *,
    timeout: float = 600,
    stdin: str = "",
    environment: Mapping[str, str] | None = None,
) -> Completed:
    """Run a program without a shell, in the C.UTF-8 locale; never raise.

    ``timeout`` is in seconds; ``environment`` adds variables. Unlike ``AnsibleModule.run_command`` it can be
    called from threads, and the program never sees the caller's own standard input.
    """
    env = {**os.environ, "LC_ALL": "C.UTF-8", "LANG": "C.UTF-8", **(environment or {})}
    try:
        done = subprocess.run(
            list(argv),
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            env=env,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError:
        return Completed(argv, 127, "", f"{argv[0]}: no such program")
    except subprocess.TimeoutExpired as late:
        said = late.stderr.decode(errors="replace") if isinstance(late.stderr, bytes) else late.stderr or ""
        return Completed(argv, 124, "", f"{said}\n{argv[0]}: no end after {timeout:g} s")
    except OSError as error:
        return Completed(argv, 126, "", f"{argv[0]}: {error.strerror}")
    return Completed(argv, done.returncode, done.stdout, done.stderr)
