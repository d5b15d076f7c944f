"""`holdfast`, also as `python -m holdfast`; a hook of an agent is told without loading the command line."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

_HOOK = Path(__file__).with_name("fleet") / "signals" / "hook.py"


def main() -> None:
    """Run the command line, or, of all commands the one that an agent waits for, the hook."""
    if sys.argv[1:2] == ["hook"]:
        # By its file: the packages above it load what takes ten times as long as the hook itself.
        spec = spec_from_file_location("holdfast_hook", _HOOK)
        assert spec is not None
        assert spec.loader is not None
        hook = module_from_spec(spec)
        spec.loader.exec_module(hook)
        hook.main(sys.argv[2:])
    from holdfast.cli.main import main as command_line  # noqa: PLC0415 - see above

    command_line()


if __name__ == "__main__":
    main()
