"""The watched columns of pulls, of what belongs to them, and of what they made reactions owe."""

from __future__ import annotations

from holdfast.core.changes.declare import Watched

WATCHED = (
    Watched(
        table="pulls",
        entity="pull",
        columns=(
            "id",
            "project",
            "number",
            "forge",
            "session",
            "branch",
            "base",
            "title",
            "url",
            "state",
            "stage",
            "head",
            "base_commit",
            "review",
            "fit",
            "conflicts",
            "expected",
            "merge_commit",
            "opened_by",
            "merged_at",
            "closed_at",
            "reason",
            "wanted",
            "wanted_by",
            "refused",
        ),
        scope="project",
        json_columns=frozenset({"conflicts", "expected"}),
        created="pr_created",
        updated="pr_updated",
    ),
    # Logs are no part of events: they are read where they are shown.
    Watched(
        table="checks",
        entity="check",
        columns=("id", "pull", "project", "name", "commit_id", "state", "runs", "step", "exit_status", "digest", "url"),
        updates_on=("state", "runs"),
        scope="project",
        created="pr_check_recorded",
        updated="pr_check_recorded",
    ),
    Watched(
        table="comments",
        entity="comment",
        columns=("id", "pull", "project", "external", "thread", "kind", "author", "path", "line", "state"),
        scope="project",
        created="pr_comment_recorded",
    ),
    Watched(
        table="nudges",
        entity="nudge",
        columns=(
            "id",
            "session",
            "project",
            "reaction",
            "signature",
            "pull",
            "state",
            "reason",
            "rounds",
            "message",
            "settled_at",
        ),
        updates_on=("state", "rounds", "message"),
        scope="project",
    ),
)
