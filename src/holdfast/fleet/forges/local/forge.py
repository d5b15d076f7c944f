"""The forge `local`: opens, looks at and merges pulls in the person's own repository."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.core import faults, ids, logs
from holdfast.core.errors import HoldfastError
from holdfast.fleet.forges.local import landing, refs
from holdfast.fleet.forges.local.making import Made, make
from holdfast.fleet.forges.local.names import named
from holdfast.fleet.forges.port import Merged, MergeHow, NothingToPull, Opening, Refused
from holdfast.fleet.pulls.facts import Fit, Observation, Sight
from holdfast.fleet.workspaces.git import Git
from holdfast.fleet.workspaces.place import common_dir, disk

if TYPE_CHECKING:
    from holdfast.core.store.port import Row
    from holdfast.fleet.fleet import Fleet
    from holdfast.fleet.pulls.facts import Pull

#: How often a merge is made anew because its base has moved meanwhile.
_TRIES = 5
_SIGHT = Sight.__struct_fields__
_log = logs.get("forge")

PROBED = faults.point("forge.probed", "whether a pull can be merged is known, and no row says so")
MADE = faults.point("forge.merge-made", "the commit of a merge is made, no ref holds it")
KEPT = faults.point("forge.merge-kept", "a ref of ours holds the commit of a merge, the base has not moved")
LANDED = faults.point("forge.merge-landed", "a merge has landed, no row says so")


class LocalForge:
    """Pulls without an account: git, and what people and agents say here."""

    name = "local"
    runs_checks = True

    def __init__(self, fleet: Fleet) -> None:
        self._store = fleet.means.store.uuid
        self._folder = fleet.paths.data / "landing"
        self._errands = fleet.errands

    # --- a pull begins -----------------------------------------------------------------------------------------

    async def opening(self, session: Row, project: Row) -> Opening | NothingToPull:
        """What a pull of this session's branch would be of."""
        return await self._errands.run(f"branch {session['id']}", self._opening, session, project)

    def _opening(self, session: Row, project: Row) -> Opening | NothingToPull:
        repo, branch = Path(session["repository"]), str(session["branch"])
        bases = [str(name).removeprefix(refs.HEADS) for name in (session["base"], project["base"]) if name]
        found = refs.read(repo, [branch, *bases])
        if branch not in found:
            return NothingToPull(f"There is no branch {branch!r} any more.")
        base = next((name for name in bases if name in found), None)
        if base is None or base == branch:
            named_bases = ", ".join(map(repr, bases))
            return NothingToPull(f"None of {named_bases} is a branch to merge into. Set the project's base.")
        head, base_commit = found[branch], found[base]
        if refs.is_ancestor(repo, head, base_commit):
            return NothingToPull(f"{branch!r} holds nothing that {base!r} has not.")
        title = str(session["title"] or refs.subject(repo, head))
        return Opening(number=None, branch=branch, base=base, head=head, base_commit=base_commit, title=title)

    # --- a look ------------------------------------------------------------------------------------------------

    async def look(self, pull: Pull, session: Row, project: Row | None) -> Observation:
        """How it stands: where its branch and its base are, and whether they fit."""
        sight: Sight | None = None
        try:
            sight = await self._errands.run(f"pull {pull.id}", self._sight, pull, session, project)
        except HoldfastError as error:
            _log.warning("a pull could not be looked at", pull=pull.id, why=error.message)
        return Observation(pull=pull.id, fetched=sight is not None, sight=sight)

    def _sight(self, pull: Pull, session: Row, project: Row | None) -> Sight:
        repo = Path(session["repository"])
        if project is None:
            return _seen(pull, state="closed", reason=f"Project {pull.project!r} was removed.")
        expected = tuple(named(msgspec.json.decode(project["checks"])))
        found = refs.read(repo, [pull.branch, pull.base])
        head, base = found.get(pull.branch), found.get(pull.base)
        if base is None:
            return _seen(pull, expected=expected, head=head or pull.head, fit="unknown", conflicts=())
        merged = self._merged_at(repo, pull, base)
        if merged is not None:
            return _seen(pull, state="merged", base_commit=base, merge_commit=merged)
        if head is None or refs.is_ancestor(repo, head, base):
            back = f"was moved back: it holds nothing that {pull.base!r} has not"
            what = "was deleted" if head is None else back
            return _seen(pull, state="closed", reason=f"Its branch {pull.branch!r} {what}.")
        if pull.fit != "unknown" and (pull.head, pull.base_commit) == (head, base):
            return _seen(pull, expected=expected)
        probe = refs.probe(repo, base, head)
        PROBED()
        fit: Fit = "conflict" if probe.conflicts else "clean"
        at = {"head": head, "base_commit": base, "expected": expected}
        return _seen(pull, **at, fit=fit, conflicts=probe.conflicts)

    def _merged_at(self, repo: Path, pull: Pull, base: str) -> str | None:
        """The commit by which the base has all of a pull, ours or anybody's; none where it has not."""
        landed = self._landed(repo, pull, base)
        if landed is None and refs.is_there(repo, pull.head) and refs.is_ancestor(repo, pull.head, base):
            return base
        return landed

    # --- a merge -----------------------------------------------------------------------------------------------

    async def merge(self, pull: Pull, session: Row, how: MergeHow) -> Merged | Refused:
        """Merge it; what an earlier try has landed is found."""
        repo = Path(session["repository"])
        return await self._errands.run(f"base {repo}", self._merge, pull, repo, how)

    def _merge(self, pull: Pull, repo: Path, how: MergeHow) -> Merged | Refused:
        common = common_dir(repo)
        for _ in range(_TRIES):
            found = refs.read(repo, [pull.branch, pull.base])
            base, branch = found.get(pull.base), refs.resolved(repo, pull.base)
            if base is None:
                return Refused(f"There is no branch {pull.base!r} to merge into.")
            if branch is None:
                why = f"{pull.base!r} stands for a ref that is no branch, so nothing can be merged into it."
                return Refused(why, f"git symbolic-ref {refs.HEADS}{pull.base}")
            merged = self._merged_at(repo, pull, base)
            if merged is not None:
                self._recover(common)
                return Merged(merged, how)
            made = self._made(repo, pull, base, how, head=found.get(pull.branch))
            if isinstance(made, Refused):
                return made
            try:
                refused = landing.land(self._landing(repo, common, branch, base, made))
            except landing.BaseMovedError:
                continue
            if refused is None:
                LANDED()
            return refused or Merged(made.commit, how)
        why = f"{pull.base!r} moved {_TRIES} times while the merge was made."
        return Refused(why, f"holdfast pulls merge {pull.id}", passing=True)

    def _made(self, repo: Path, pull: Pull, base: str, how: MergeHow, *, head: str | None) -> Made | Refused:
        """The commit that is to land, which a ref of ours holds by now."""
        if head != pull.head:
            why = f"{pull.branch!r} has moved since it was looked at ({pull.head[:10]}). See what is new, then merge."
            return Refused(why, f"holdfast pulls show {pull.id}")
        if pull.expected and base != pull.base_commit:
            why = f"{pull.base!r} has moved since its checks: they run again first."
            return Refused(why, passing=True, unchecked=True)
        made = make(repo, pull, base, how)
        if isinstance(made, Made):
            MADE()
            self._keep(repo, pull, made)
            KEPT()
        return made

    def _landing(self, repo: Path, common: Path, branch: str, base: str, made: Made) -> landing.Landing:
        return landing.Landing(
            repo=repo,
            common=common,
            branch=branch,
            before=base,
            after=made.commit,
            message=f"holdfast: {made.words}",
            notes=self._notes(common),
            token=f"holdfast {self._store} {ids.new_id('land')}\n",
        )

    def _notes(self, common: Path) -> Path:
        return self._folder / hashlib.sha256(os.fsencode(common)).hexdigest()[:16]

    def recover(self) -> None:
        """Finish or take back what an earlier process was landing in anybody's worktree. Blocks."""
        if self._folder.is_dir():
            for notes in sorted(self._folder.iterdir()):
                try:
                    landing.recover_at_start(notes)
                except HoldfastError as error:  # the next merge there tries it again, and says so
                    _log.warning("a merge that was cut off could not be finished", why=error.message)

    def _recover(self, common: Path) -> None:
        with disk(str(common)), landing.alone(common):
            landing.recover(self._notes(common))

    # --- the commit of a merge, until it is on record --------------------------------------------------------------

    def _ref(self, pull: Pull) -> str:
        return f"refs/holdfast/merging/{self._store[:8]}/{pull.id}"

    def _keep(self, repo: Path, pull: Pull, made: Made) -> None:
        """Let a ref of ours hold it: by it, whoever comes after us knows what was to land, and whether it has."""
        config = ("-c", "core.fsync=all", "-c", "core.fsyncMethod=fsync", "-c", "core.logAllRefUpdates=false")
        Git(repo).run("update-ref", self._ref(pull), made.commit, config=config)

    def _landed(self, repo: Path, pull: Pull, base: str) -> str | None:
        """The commit of a merge of ours that the base holds, whatever row says so."""
        kept = Git(repo).ask("rev-parse", "--verify", "--quiet", f"{self._ref(pull)}^{{commit}}")
        if kept.status or not refs.is_ancestor(repo, kept.text, base):
            return None
        return kept.text

    async def merged(self, pull: Pull, session: Row) -> None:
        """The row says so: the ref is not needed any more."""
        repo = Path(session["repository"])
        await self._errands.run(f"base {repo}", Git(repo).ask, "update-ref", "-d", self._ref(pull))


def _seen(pull: Pull, **seen: Any) -> Sight:
    """What is known of a pull, and what of it was seen to be otherwise."""
    return Sight(**({name: getattr(pull, name) for name in _SIGHT} | seen))
