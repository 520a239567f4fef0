# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Generate passwords for the scenarios with special characters of all notations: URLs, INI, shells, SQL, FRR, BIRD.

Each service then signs in with such a password. A passing scenario shows that no program on the way interprets a part
of it. scripts/test runs this program after `socle secrets init`. A secret that already has such a value keeps it.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from socle import vault
from socle.project import Site

WORD = r"p@ss/w%rd#1:$x;'\$y${z}%41&|<>!?*`id`=[]~^+,"
BLANKS = ' "quoted" '


def awkward(name: str, value: str, catalogue) -> str:
    """Return the value with a prefix of special characters that all readers of the secret accept."""
    # The key of an existing CA is encrypted with its current passphrase.
    settled = name == catalogue.CA_PASSPHRASE and (SITE.path / "pki").exists()
    if settled or name in (*catalogue.SEEDS, *catalogue.UNQUOTED) or value.startswith(WORD[:4]):
        return value
    if name in catalogue.LASTING:  # of a fixed length
        return WORD[: catalogue.KEY_LENGTH // 2] + value[: catalogue.KEY_LENGTH // 2]
    word = WORD.replace("/", "") if name in catalogue.WITHOUT_SLASH else WORD
    one_word = name not in catalogue.FIXED or name in catalogue.WORDS
    return word + ("" if one_word else BLANKS) + value[:32]


SITE = Site(Path(sys.argv[1]).resolve())

if __name__ == "__main__":
    catalogue = vault._catalogue()
    lock = vault._vault(SITE, ())
    held = vault._read(SITE, lock)
    wanted = {name: awkward(name, value, catalogue) for name, value in held.items()}
    for name, value in wanted.items():
        assert catalogue.fault(name, value, session_key=name not in catalogue.FIXED) is None, name
    if wanted != held:
        vault._save(SITE, lock, wanted)
