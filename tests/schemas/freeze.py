"""Writes the present schema into the list of released ones: run once, when a version is released.

`python tests/schemas/freeze.py` from the root. What is in the list is never edited again.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
LIST = HERE / "released.json"
DIALECTS = ("sqlite", "postgres")


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def tables(packs: tuple[Any, ...], dialect: Any) -> str:
    """Every pack's tables, without the triggers, which are made anew by every migration."""
    from importlib import resources

    return "".join(resources.files(pack.package).joinpath(f"schema.{dialect}.sql").read_text("utf-8") for pack in packs)


def present() -> dict[str, Any]:
    """The entry of the list that the tree as it is would get."""
    from holdfast import __version__
    from holdfast.app import packs
    from holdfast.core.store import migrate, schema

    return {
        "version": __version__,
        "migrations": {migration.name: migration.checksum for migration in migrate.known(packs())},
        "tables": {dialect: digest(tables(packs(), dialect)) for dialect in DIALECTS},
        "triggers": {dialect: digest(schema.triggers(packs(), dialect)) for dialect in DIALECTS},
    }


def main() -> None:
    from holdfast.app import packs

    entry = present()
    released = (
        [old for old in json.loads(LIST.read_text()) if old["version"] != entry["version"]] if LIST.exists() else []
    )
    LIST.write_text(json.dumps([*released, entry], indent=1) + "\n")
    for dialect in DIALECTS:
        (HERE / f"{entry['version']}.{dialect}.sql").write_text(tables(packs(), dialect))
    print(f"{entry['version']} is in {LIST}, with {len(entry['migrations'])} migrations")


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parents[1] / "src"))
    main()
