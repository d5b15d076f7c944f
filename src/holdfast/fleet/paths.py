"""Where things of a session lie below the data folder; the names are made of ids that were checked before."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Paths:
    """The folders of one data folder."""

    data: Path

    @property
    def spool(self) -> Path:
        """What agents said while nobody listened."""
        return self.data / "spool"

    def workspace(self, project: str, session: str) -> Path:
        """The worktree of a session."""
        return self.data / "workspaces" / project / session

    def folder(self, session: str) -> Path:
        """Everything of a session that is not its work."""
        return self.data / "sessions" / session

    def home(self, session: str) -> Path:
        """What its agent is given beside its work: settings files and the like."""
        return self.folder(session) / "agent"

    def record(self, session: str) -> Path:
        """The recorded output."""
        return self.folder(session) / "output"

    def runtime(self, name: str) -> Path:
        """What a runtime keeps for itself."""
        return self.data / "runtimes" / name

    def restored(self, ref: str) -> Path:
        """Where kept work is put back unless a person says where."""
        session, _, number = ref.removeprefix("refs/holdfast/kept/").partition("/")
        return self.data / "restored" / f"{session}-{number}"

    def setup_log(self, session: str) -> Path:
        """What the set-up commands said."""
        return self.folder(session) / "setup.log"
