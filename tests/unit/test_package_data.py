"""The statements travel with the code, whatever the code is installed in."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src"
_OPEN = """
import asyncio, sys
from pathlib import Path
import holdfast
assert ".zip" in holdfast.__file__, holdfast.__file__
from holdfast.core.store.lock import hold_data
from holdfast.core.store.opening import StoreConfig, open_store
from holdfast.core.store.pack import CORE

async def main():
    data = Path(sys.argv[1])
    with hold_data(data) as lock:
        for _ in range(2):
            store = await open_store(StoreConfig(data, (CORE,)), lock)
            await store.close()

asyncio.run(main())
print("opened")
"""


def test_a_store_opens_from_code_that_is_no_folder(tmp_path: Path) -> None:
    archive = tmp_path / "holdfast.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for file in sorted(SOURCE.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                packed.write(file, file.relative_to(SOURCE))
    done = subprocess.run(
        [sys.executable, "-c", _OPEN, str(tmp_path / "data")],
        env={"PYTHONPATH": str(archive), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "opened\n"), done.stderr
