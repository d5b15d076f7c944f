"""Makes the commit by which a pull gets into its base, without a work tree, an index or a ref."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from holdfast.core.redact import plain
from holdfast.fleet.forges.local import refs, worktrees
from holdfast.fleet.forges.port import MergeHow, Refused
from holdfast.fleet.workspaces.git import DURABLE, Git

if TYPE_CHECKING:
    from holdfast.fleet.pulls.facts import Pull

#: Who makes commits where git does not know who the person is.
_NOBODY = ("-c", "user.name=Holdfast", "-c", "user.email=holdfast@localhost")
_MOST_SUBJECTS = 200


@dataclass(frozen=True, slots=True)
class Made:
    """A commit that holds the base and the pull."""

    commit: str
    #: What it is, in a line.
    words: str


def make(repo: Path, pull: Pull, base: str, how: MergeHow) -> Made | Refused:
    """The commit; refused where the two do not go together."""
    words = f"merge {pull.branch} into {pull.base} ({pull.id}, {how})"
    if how == "ff":
        if not refs.is_ancestor(repo, base, pull.head):
            why = f"{pull.base!r} has commits that {pull.branch!r} has not: it cannot be moved forward to it."
            return Refused(why, f"holdfast pulls merge {pull.id} --how merge")
        return Made(pull.head, words)
    probe = refs.probe(repo, base, pull.head)
    if probe.conflicts:
        why = f"{pull.branch!r} and {pull.base!r} both changed {worktrees.few(list(probe.conflicts))}."
        return Refused(f"{why} Its agent, or you, must merge {pull.base!r} into it first.", f"git merge {pull.base}")
    title = plain(pull.title).replace("\n", " ").strip() or pull.branch
    match how:
        case "merge":
            said, parents = f"Merge {pull.branch}: {title} ({pull.id})\n", [base, pull.head]
            author: tuple[str, ...] = ()
        case "squash":
            said, parents = f"{title} ({pull.id})\n\n{_subjects(repo, base, pull.head)}", [base]
            author = _author(repo, base, pull.head)
        case _:
            assert_never(how)
    given = [word for parent in parents for word in ("-p", parent)]
    config = (*DURABLE, *_person(repo), *author)
    commit = Git(repo).run("commit-tree", probe.tree, *given, stdin=said.encode("utf-8", "replace"), config=config)
    return Made(commit.decode("ascii").strip(), words)


def _person(repo: Path) -> tuple[str, ...]:
    return () if Git(repo).ask("var", "GIT_COMMITTER_IDENT").status == 0 else _NOBODY


def _author(repo: Path, base: str, head: str) -> tuple[str, ...]:
    """Whoever wrote the first of the commits that become one."""
    told = Git(repo).run("log", "--reverse", "--no-merges", "--format=%an%x00%ae", f"{base}..{head}", "--")
    name, _, mail = told.decode("utf-8", "replace").partition("\n")[0].partition("\0")
    return ("-c", f"author.name={name}", "-c", f"author.email={mail}") if name and mail else ()


def _subjects(repo: Path, base: str, head: str) -> str:
    words = (
        "log",
        "--reverse",
        "--no-merges",
        f"--max-count={_MOST_SUBJECTS}",
        "--format=* %s",
        f"{base}..{head}",
        "--",
    )
    return Git(repo).run(*words).decode("utf-8", "replace")
