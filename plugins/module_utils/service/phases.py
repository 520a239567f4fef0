# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The phases of a service, in order, and the selection of phases by the tags of a run."""

from __future__ import annotations

from collections.abc import Collection

PHASES = ("configure", "install", "bootstrap", "run")


def chosen(tags: Collection[str], run_tags: Collection[str]) -> list[str]:
    """Return the phases that one task performs.

    ``tags`` are those of the task, including its phases; ``run_tags`` those of the run (``--tags``; ``all`` by
    default). A phase is chosen if a separate task for it would be: by its own tag, or by a tag that the phases share (a
    play's, a role's). A task without phases among its tags performs all its phases.
    """
    own = [phase for phase in PHASES if phase in tags]
    shared = {*tags} - {*own}
    if not own or "always" in shared or shared & {*run_tags} or {"all", "tagged"} & {*run_tags}:
        return own or list(PHASES)
    return [phase for phase in own if phase in run_tags]
