"""What each queue makes of a worker that is killed by signal 9 in the middle of a job, as it was seen."""

from __future__ import annotations

from typing import NamedTuple


class Guarantee(NamedTuple):
    """One queue, and what became of the jobs of its killed worker."""

    peer: str
    version: str
    kill: str
    verified: str


#: The same experiment for all, run again by `python -m bench.queue_peers --crash`.
HOW = (
    "200 jobs that note their begin and their end in a file; the worker killed by signal 9 between the two in the "
    "105th; another worker of the same kind, 60 s or until its tables were empty; then the file and the tables read"
)

GUARANTEES: tuple[Guarantee, ...] = (
    Guarantee(
        "Holdfast",
        "this tree",
        "runs the job again: on SQLite when the next process starts, on PostgreSQL when the lease has run out (35 s "
        "and 36 s here); nothing that had ended ran again one by one, and in a batch the 104 before it did, because "
        "a batch is acknowledged together",
        HOW + "; one by one and in batches, on SQLite and on PostgreSQL",
    ),
    Guarantee(
        "Huey (SqliteHuey)",
        "3.5.4",
        "loses the job: its row is deleted when a worker takes it, so it ran no second time and no table names it",
        HOW,
    ),
    Guarantee(
        "Procrastinate",
        "3.10.0",
        "leaves the job `doing`: it ran no second time in 60 s. Its documentation offers a periodic task that finds "
        "such jobs and retries them; whoever does not add it has none (that task was not tried here)",
        HOW + "; at its default concurrency and at 32",
    ),
    Guarantee(
        "PgQueuer",
        "1.6.0",
        "runs the job again, 30 s after its last heartbeat, and with it the jobs that had ended but whose end was "
        "still in a buffer: 4 of the 104 ended ones ran twice at its default batch of 10, all 104 at a batch of 100",
        HOW + "; at a batch of 10 and of 100",
    ),
    Guarantee(
        "bare loops (the floors)",
        "-",
        "leave the job `claimed` for good: there is no lease, so nobody takes it over",
        HOW + "; on SQLite and on PostgreSQL",
    ),
)
