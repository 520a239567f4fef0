# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""What every engine and module shares: running a program, fanning out, building a diff."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


def told(options: Mapping[str, Any], *large: str) -> dict[str, Any]:
    """The ``invocation`` of a module's result without the options that are ``large``, or secret.

    Else all that a module was given comes back, is searched for secrets, and goes through every callback: a third of a
    second for the VRFs of a gateway.
    """
    return {"module_args": {name: value for name, value in options.items() if name not in large}}


@dataclass(frozen=True)
class Completed:
    """The end of a program: its exit code (127: not found, 124: timed out) and what it printed."""

    argv: Sequence[str]
    rc: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        return self.rc == 0

    @property
    def output(self) -> str:
        """Both streams, as a person would have seen them."""
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


def make_directory(path: str | os.PathLike[str], mode: int = 0o755) -> None:
    """Have a directory; what is missing of it gets this mode, missing parents 0755, whatever the umask.

    On a hardened node a session's umask lets nobody but root in, also where a service is to read.
    """
    path = os.fspath(path)
    if not path or os.path.isdir(path):
        return
    make_directory(os.path.dirname(path.rstrip("/")))
    with contextlib.suppress(FileExistsError):  # another thread was quicker
        os.mkdir(path)
        os.chmod(path, mode)


def in_parallel(function: Callable[[T], R], items: Iterable[T], workers: int = 8) -> list[R]:
    """``[function(item) for item in items]``, side by side; an exception is raised after all ended."""
    todo = list(items)
    if len(todo) < 2:
        return [function(item) for item in todo]
    from concurrent.futures import ThreadPoolExecutor  # a tenth of what most calls import, and they have one item

    with ThreadPoolExecutor(max_workers=min(workers, len(todo))) as pool:
        return list(pool.map(function, todo))


def diff_entry(header: str, before: str, after: str) -> dict[str, str]:
    """One entry of a module's ``diff`` list, in the shape that ``ansible --diff`` prints."""
    return {"before_header": header, "after_header": header, "before": before, "after": after}


def list_of(options: dict[str, dict]) -> dict[str, Any]:
    """Argument specification of a list of mappings, empty by default."""
    return {"type": "list", "elements": "dict", "default": [], "options": options}


def lines(items: Iterable[Any]) -> str:
    """Items as text, one a line, each line ended."""
    return "".join(f"{item}\n" for item in items)
