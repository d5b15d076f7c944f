"""Why a worktree that has the base checked out cannot follow a landing; what is asked here changes nothing of it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.fleet.forges.local import worktrees
from holdfast.fleet.forges.local.obstacles import in_the_way
from holdfast.fleet.forges.local.restoring import changes
from holdfast.fleet.forges.local.worktrees import Holder, word
from holdfast.fleet.forges.port import Refused
from holdfast.fleet.workspaces.git import TREE_SECONDS, Git
from holdfast.fleet.workspaces.place import erase

if TYPE_CHECKING:
    from holdfast.fleet.forges.local.landing import Landing

_FILTERS = r"^filter\..*\.(smudge|process)$"


def away(landing: Landing, path: Path) -> Refused | None:
    """Why there is no such worktree at a path, whatever git's list says."""
    where = f"{landing.branch!r} is checked out at {str(path)!r}"
    if not path.is_dir():
        command = f"git -C {word(landing.repo)} worktree"
        if worktrees.is_kept(landing.common, path):
            why = f"{where}, which is not there, and it is locked. Bring its disk back; or, where it is gone for good:"
            return Refused(why, f"{command} remove --force --force {word(path)}")
        return Refused(f"{where}, which is not there.", f"{command} prune")
    git_dir = Git(path).ask("rev-parse", "--absolute-git-dir")
    if git_dir.status or worktrees.common_of(Path(git_dir.text)).resolve() != landing.common.resolve():
        why = f"{where}, where by now something else stands. Move that away."
        return Refused(why, f"git -C {word(landing.repo)} worktree list")
    return None


def unfit(landing: Landing, held: Holder, *, swapped: bool) -> Refused | None:
    """Why this worktree cannot follow, which is looked at under its lock; `swapped` where its ref has moved before."""
    command = f"git -C {word(held.path)} merge {landing.after}"
    where = f"{landing.branch!r} is checked out at {str(held.path)!r}"
    what = worktrees.busy(held)
    if what is not None:
        return Refused(f"{where}, where {what} is under way. Finish that, then merge again; or:", command, passing=True)
    changed = [] if swapped else worktrees.changed(held)
    if changed:
        why = f"{where} with changes that are not committed ({worktrees.few(changed)})."
        return Refused(f"{why} Commit or stash them, then merge again; or:", command, passing=True)
    found = changes(held, landing.before, landing.after)
    there = in_the_way(held.path, found)
    if there:
        why = f"{where}, where files that git does not track are in the way: {worktrees.few(there)}."
        # No `git merge` here: it deletes ignored files that are in its way. This one shows them.
        shown = f"git -C {word(held.path)} status --short --ignored"
        return Refused(f"{why} Move them, then merge again. To see them:", shown, passing=True)
    return None


def rehearse(landing: Landing, held: Holder) -> Refused | None:
    """Write the files elsewhere first, where filters of the person's write them; why that cannot be done.

    In the tree itself a filter that fails leaves it half written. Each side is tried, since what is cut off must be
    taken back as well.
    """
    if Git(held.path, held.git_dir).ask("config", "--get-regexp", _FILTERS).status:
        return None
    said = _rehearsed(landing, held, landing.notes / "rehearsal")
    if said is None:
        return None
    why = (
        f"{landing.branch!r} is checked out at {str(held.path)!r}, and git cannot write its files: {said.rstrip('.')}."
    )
    again = f"{why} Mend that, then merge again; or:"
    return Refused(again, f"git -C {word(held.path)} merge {landing.after}", passing=True)


def _rehearsed(landing: Landing, held: Holder, folder: Path) -> str | None:
    found = changes(held, landing.before, landing.after)
    try:
        for commit, gone in ((landing.before, "is_new"), (landing.after, "is_gone")):
            erase(folder)
            folder.mkdir(parents=True, mode=0o700)
            git = Git(held.path, held.git_dir, folder / "index", TREE_SECONDS)
            git.run("read-tree", commit)
            names = [os.fsencode(each.name) for each in found if not (getattr(each, gone) or each.is_module)]
            words = ("checkout-index", "--force", f"--prefix={folder}/tree/", "-z", "--stdin")
            answer = git.ask(*words, stdin=b"".join(name + b"\0" for name in names))
            if answer.status:
                return answer.said or "it said nothing"
        return None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
