"""Questions about refs and commits of a repository, asked of git; and the files by which a moved ref is noticed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from holdfast.fleet.workspaces.git import Git, failed

HEADS = "refs/heads/"
_CONFLICTS = 1
_NOT_SYMBOLIC = 1
_SYMBOLIC = b"ref: "
#: Longer than any name that git takes.
_LONGEST_REF = 8192

#: What `stat` tells of a file; none where it is not there.
Print = tuple[int, int, int] | None


@dataclass(frozen=True, slots=True)
class Probe:
    """What a merge of two commits would come to."""

    tree: str
    conflicts: tuple[str, ...]


def read(repo: Path, branches: Iterable[str]) -> dict[str, str]:
    """The commits that these branches are at; those that are not there are left out."""
    wanted = {HEADS + name for name in branches}
    rows = Git(repo).run("for-each-ref", "--format=%(objectname) %(refname)", *sorted(wanted))
    found = {}
    for line in os.fsdecode(rows).splitlines():
        commit, _, name = line.partition(" ")
        if name in wanted:  # a name also stands for all below it
            found[name.removeprefix(HEADS)] = commit
    return found


def resolved(repo: Path, branch: str) -> str | None:
    """The branch that moves when this one does: another one where it is a symbolic ref; none where that is no branch.

    Git says at every checkout the last name of such a chain, and what is written to a ref on the way would cut it.
    """
    answer = Git(repo).ask("symbolic-ref", "--quiet", HEADS + branch)
    if answer.status == _NOT_SYMBOLIC:
        return branch
    return answer.text.removeprefix(HEADS) if answer.status == 0 and answer.text.startswith(HEADS) else None


def is_ancestor(repo: Path, commit: str, of: str) -> bool:
    """Whether all of a commit is in another one."""
    words = ("merge-base", "--is-ancestor", commit, of)
    answer = Git(repo).ask(*words)
    if answer.status > 1:
        raise failed(words, repo, answer.said)
    return answer.status == 0


def is_there(repo: Path, commit: str) -> bool:
    """Whether the repository has this commit."""
    return Git(repo).ask("cat-file", "-e", f"{commit}^{{commit}}").status == 0


def ahead(repo: Path, base: str, head: str) -> int:
    """How many commits a commit has that another one has not."""
    return int(Git(repo).run("rev-list", "--count", f"{base}..{head}", "--"))


def subject(repo: Path, commit: str) -> str:
    """The first line of what a commit says."""
    return Git(repo).run("log", "-1", "--format=%s", commit, "--").decode("utf-8", "replace").strip()


def probe(repo: Path, base: str, head: str) -> Probe:
    """Merge two commits in git's memory: no work tree, no index and no ref has to do with it."""
    words = ("merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", base, head)
    answer = Git(repo).ask(*words)
    if answer.status > _CONFLICTS:
        raise failed(words, repo, answer.said)
    tree, *names = (os.fsdecode(part) for part in answer.out.split(b"\0"))
    conflicts = tuple(sorted({name for name in names if name})) if answer.status == _CONFLICTS else ()
    return Probe(tree, conflicts)


def prints(common: Path, branches: Iterable[str]) -> Mapping[str, Print]:
    """How the files look in which these branches stand: where nothing of it has changed, no branch has moved.

    A ref is a file of its own, or a line of `packed-refs`; where git keeps them in tables, these have a list.
    """
    found = {name: _print(common / name)[0] for name in ("packed-refs", "reftable/tables.list")}
    todo = [HEADS + name for name in branches]
    while todo:
        name = todo.pop()
        if name not in found:
            found[name], points_at = _print(common / name)
            todo += points_at
    return found


def _print(path: Path) -> tuple[Print, list[str]]:
    """How a file looks, and the ref that it stands for where it is a symbolic one."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None, []
    try:
        seen = os.fstat(file)
        begin = os.read(file, _LONGEST_REF) if stat.S_ISREG(seen.st_mode) else b""
    finally:
        os.close(file)
    target = os.fsdecode(begin.removeprefix(_SYMBOLIC).strip()) if begin.startswith(_SYMBOLIC) else ""
    inside = target.startswith("refs/") and ".." not in target.split("/")
    return (seen.st_mtime_ns, seen.st_ino, seen.st_size), [target] if inside else []
