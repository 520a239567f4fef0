# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Give the scenarios' inventory passwords that are awkward in every notation: URLs, INI, shells, SQL, FRR, BIRD.

Each service then signs in with one, so a scenario that passes shows that nobody on the way takes a part of it for
something else. Run by scripts/test after `socle secrets init`; what has such a password keeps it.
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
    """The value, with what is awkward in front of it, as far as the secret's readers can take it."""
    # The key of an authority that is there already is encrypted with the passphrase that it has.
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
