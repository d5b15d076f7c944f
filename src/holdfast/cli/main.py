"""The `holdfast` command: gathers the groups and turns every end into an exit status."""

from __future__ import annotations

import sys

import typer

from holdfast.cli import (
    access,
    agents,
    config,
    daemon,
    doctor,
    events,
    init,
    jobs,
    kept,
    notices,
    opening,
    output,
    project,
    pulls,
    sessions,
    terminals,
)
from holdfast.cli.failures import FAILED, USAGE, CommandError
from holdfast.core.errors import HoldfastError

_INTERRUPTED = 130

app = typer.Typer(
    name="holdfast",
    help="Keeps watch over work that runs unattended, and never loses track.",
    no_args_is_help=True,
    rich_markup_mode=None,  # help without Rich: it would double the time that any command takes to start
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
daemon.register(app)
doctor.register(app)
opening.register(app)
init.register(app)
sessions.register(app)
terminals.register(app)
app.add_typer(agents.app, name="agents")
app.add_typer(kept.app, name="kept")
app.add_typer(pulls.app, name="pulls")
app.add_typer(notices.app, name="notices")
app.add_typer(notices.channels_app, name="channels")
app.add_typer(access.app, name="token")
app.add_typer(config.app, name="config")
events.register(app)
app.add_typer(jobs.app, name="jobs")
app.add_typer(project.app, name="project")


def main() -> None:
    """Run the command line of this process."""
    status = FAILED
    try:
        app()  # leaves by SystemExit; wrong usage with 2
    except CommandError as error:
        output.complain(f"holdfast: {error}")
        status = error.status
    except HoldfastError as error:
        output.complain(f"holdfast: {error.message}")
        status = USAGE if error.code == "settings" else FAILED
    except KeyboardInterrupt:
        status = _INTERRUPTED
    except output.ReaderGoneError:
        status = 0
    except OSError as error:  # the system's own words name the file, and a person can do nothing with the rest
        output.complain(f"holdfast: {error}")
    sys.exit(status)
