"""Runs the gates over the tree; what is allowed to break one stands in `gates.allow`, which may only shrink.

A line there is `<gate> <path> <where> [<size>]  # <the reason>`. A line that no longer matches must go, a size that has
fallen must be lowered, and a line that was not in the list when it began is refused.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from gate_rules import RULES, Finding, Source

ROOT = Path(__file__).resolve().parent.parent
ALLOW = "tools/gates.allow"
FOLDERS = ("src", "tests", "tools", "bench")

Key = tuple[str, str, str]


def sources(root: Path = ROOT) -> Iterator[Source]:
    """Every Python file of the tree."""
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            yield Source(path.relative_to(root).as_posix(), text, ast.parse(text))


def findings(files: Iterable[Source]) -> list[Finding]:
    """Everything that breaks a gate, allowed or not; several of one name count as one."""
    found: dict[Key, Finding] = {}
    for source in files:
        for check in RULES.values():
            for finding in check(source):
                found.setdefault(finding.key, finding)
    return list(found.values())


def allowed(text: str) -> dict[Key, int]:
    """The allow-list: the size up to which each named finding is let through."""
    listed: dict[Key, int] = {}
    for line in text.splitlines():
        entry, _, reason = line.partition("#")
        words = entry.split()
        if not words:
            continue
        if len(words) not in (3, 4) or not reason.strip():
            message = f"{ALLOW}: {line!r} is not `<gate> <path> <where> [<size>]  # <reason>`"
            raise SystemExit(message)
        listed[words[0], words[1], words[2]] = int(words[3]) if len(words) > 3 else 0  # noqa: PLR2004 - the size
    return listed


def judge(found: Iterable[Finding], listed: dict[Key, int]) -> list[str]:
    """What must be mended: findings that no line allows, and lines that allow more than is needed."""
    wrong = []
    left = dict(listed)
    for finding in found:
        limit = left.pop(finding.key, None)
        if limit is None or finding.hard or finding.size > limit:
            wrong.append(f"{finding.path}: {finding.gate}: {finding.where}: {finding.message}")
        elif finding.size < limit:
            wrong.append(f"{ALLOW}: {' '.join(finding.key)} is {finding.size} now: lower the number")
    wrong.extend(f"{ALLOW}: {' '.join(key)} is mended: take the line out" for key in left)
    return wrong


def grown(now: dict[Key, int], first: dict[Key, int]) -> list[str]:
    """Lines that were not in the list when it began, or that allow more than they did."""
    return [
        f"{ALLOW}: {' '.join(key)} was added: the list may only shrink"
        for key, size in now.items()
        if key not in first or size > first[key]
    ]


def _git(*command: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *command], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def first_list() -> dict[Key, int] | None:
    """The allow-list as it was first committed, as far as the history at hand goes."""
    commits = _git("log", "--diff-filter=A", "--format=%H", "--", ALLOW).split()
    return allowed(_git("show", f"{commits[-1]}:{ALLOW}")) if commits else None


def main() -> int:
    """Print what must be mended."""
    listed = allowed((ROOT / ALLOW).read_text(encoding="utf-8"))
    wrong = judge(findings(sources()), listed)
    first = first_list()
    if first is not None:
        wrong.extend(grown(listed, first))
    for line in wrong:
        print(line)
    print(f"gates: {len(RULES)} gates, {len(listed)} allowed, {len(wrong)} to mend")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
