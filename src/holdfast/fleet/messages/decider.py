"""What is to be done about one message: a pure decision over its row, its session, the screen, and the evidence."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from holdfast.core.instants import later, parse_stamp, seconds
from holdfast.fleet.agents.declare import Input, SignalKind
from holdfast.fleet.messages import evidence
from holdfast.fleet.messages.words import BEFORE, OVER, Kind, State
from holdfast.fleet.runtimes.line_mode import LINE
from holdfast.fleet.runtimes.port import Screen

#: How often Enter is pressed at most, and how long a text must have stood in the box before each time, in seconds.
PRESS_AFTER = (0.0, 1.5, 4.0)
#: A terminal that shows nothing of what was written gets the first Enter after so long.
ECHO_SECONDS = 0.5
#: A terminal that gathers lines cuts the long ones. An agent that is only starting goes over to keys within so long.
LINES_SECONDS = 30.0
#: From the write to the end of the search for evidence. One that works takes its next message when it is done.
CONFIRM_SECONDS = 60.0
BUSY_SECONDS = 3_600.0
#: What a daemon that died in the middle of its write has left in the terminal shows within so long.
LEFT_SECONDS = 15.0
#: A dialog that is said to be open is on the screen by then; one that is not was left without a word.
DIALOG_SECONDS = 10.0
#: An agent that was started with a text takes longer: it may be loading, or waiting for its model.
CARRIED_SECONDS = 300.0
#: What an agent said in its last moments comes so late.
GONE_SECONDS = 5.0
#: A session that was lost may be restored: what was not typed waits so long for that.
RESTORE_SECONDS = 600.0
#: Ends that somebody wanted: nobody restores these at once.
_WANTED_ENDS = frozenset({"manually_killed", "auto_cleanup", "pr_merged"})
#: An agent that says one of these has taken what was submitted to it.
_ACTS: frozenset[SignalKind] = frozenset({"working", "blocked"})
_RESTS: frozenset[SignalKind] = frozenset({"idle", "waiting_input", "done"})


Sure: TypeAlias = Literal["unwritten", "unpressed"]


class Message(msgspec.Struct, frozen=True):
    """A message as its row has it; the text as it is typed."""

    id: int
    session: str
    kind: Kind
    state: State
    launch: int
    presses: int
    text: str


class Listener(msgspec.Struct, frozen=True):
    """The session that it is for."""

    launch: int
    state: str
    speaks: Literal["hooks", "output"]
    alive: bool = False
    activity: SignalKind | None = None
    #: When the agent said that last.
    activity_at: str | None = None
    reason: str | None = None
    wanted: str | None = None
    kill_asked: bool = False
    ended_at: str | None = None
    #: Whether what it is told of an interruption is on its way to it.
    notice: bool = False


class Typing(msgspec.Struct, frozen=True):
    """How far the typing of it has come, as it is noted with its propagation."""

    #: On the clock of the signals, just before the first byte.
    seq: int = 0
    #: Whether the agent rested then: only so does it mean something that it works later.
    calm: bool = True
    #: Whether all of it has reached the terminal.
    written: bool = False
    #: Whether the runtime did not take all of it in time: it may come yet.
    slow: bool = False
    #: Where the recorded output stood before the last Enter; none before the first.
    pressed_at: int | None = None
    #: Seconds that have been watched since the write, and when the last Enter was pressed on that count.
    watched: float = 0.0
    pressed: float = 0.0
    #: When it was last looked at, on the wall clock, and for how long it was left then.
    looked_at: str = ""
    left_for: float = 0.0
    #: The command line has carried it: nothing was typed.
    carried: bool = False
    #: Nothing was typed yet: what is watched is a terminal that would cut it.
    ahead: bool = False


class Said(msgspec.Struct, frozen=True):
    """A signal of the launch that it was typed to, since the typing."""

    seq: int
    kind: SignalKind


class Scene(msgspec.Struct, frozen=True):
    """Everything that decides about one message."""

    message: Message
    listener: Listener
    now: str
    dialect: Input
    #: What the terminal shows; none when that cannot be told.
    screen: Screen | None = None
    #: Whether the terminal gathers lines now, and this text has one that it would cut.
    cuts: bool = False
    #: None when nothing of it was typed, as far as is known.
    typing: Typing | None = None
    said: tuple[Said, ...] = ()
    #: What was recorded since the typing, and what of that since the last Enter.
    output: bytes = b""
    answer: bytes = b""
    #: A text that stood in the box when it was given up.
    remains: str | None = None
    #: What this process knows for sure: that nothing was written yet, that no key was pressed yet.
    sure: Sure | None = None


# --- what is to be done ----------------------------------------------------------------------------------------


class Rest(msgspec.Struct, frozen=True):
    """Nothing now; look again after so many seconds, or when something has been said."""

    reason: str
    after: float
    #: Whether this time counts towards the end of the search for evidence.
    counts: bool = True


class Hold(msgspec.Struct, frozen=True):
    """It must not be typed: say so, and look again."""

    reason: str
    after: float
    #: Whether this time counts towards the end of the waiting for a terminal that does not cut it.
    counts: bool = False


class Type(msgspec.Struct, frozen=True):
    """Record that it is about to be typed, and look once more."""


class Write(msgspec.Struct, frozen=True):
    """Write it to the terminal."""


class Press(msgspec.Struct, frozen=True):
    """Press Enter."""


class Settle(msgspec.Struct, frozen=True):
    """That is the end of it."""

    end: Literal["confirmed", "unknown", "failed", "suppressed"]
    why: str


class Over(msgspec.Struct, frozen=True):
    """It has come to its end already."""


Step: TypeAlias = Rest | Hold | Type | Write | Press | Settle | Over


def decide(scene: Scene) -> Step:
    """The next step for a message."""
    state = scene.message.state
    if state in OVER:
        return Over()
    if state in BEFORE:
        return _before(scene) or _cut_by_line(scene) or Type()
    if state == "typed" and scene.sure == "unwritten":
        return _before_write(scene)
    return _cut_meanwhile(scene) or _after(scene)


# --- nothing of it has reached the terminal --------------------------------------------------------------------


def _before(scene: Scene) -> Step | None:
    """What is in the way of typing it."""
    listener, message = scene.listener, scene.message
    if message.kind == "notice" and 0 < message.launch < listener.launch:
        return Settle("suppressed", f"it was meant for launch {message.launch}, which has ended")
    if not listener.alive:
        return _not_alive(scene)
    if listener.kill_asked:
        return Rest("its session is being ended", 30)
    if listener.notice and message.kind != "notice":
        return Rest("the agent is told first that it was interrupted", 60)
    return _in_the_way(scene)


def _not_alive(scene: Scene) -> Step:
    listener = scene.listener
    if listener.state not in {"terminated", "done"}:
        return Rest("its agent has not been started yet", 60)
    if listener.wanted is not None:
        return Rest("its agent is to be started again", 60)
    why = f"its session ended ({listener.reason or listener.state}) before it was typed"
    if listener.ended_at is None or listener.reason in _WANTED_ENDS or listener.state == "done":
        return Settle("failed", why)
    until = later(listener.ended_at, seconds(RESTORE_SECONDS))
    if scene.now >= until:
        return Settle("failed", why)
    left = (parse_stamp(until) - parse_stamp(scene.now)).total_seconds()
    return Rest("its session has ended; it waits whether that is restored", min(left, RESTORE_SECONDS))


def _in_the_way(scene: Scene) -> Rest | Hold | None:
    """What would make typing wrong, by what the agent says and what its terminal shows."""
    match scene.listener.activity:
        case "blocked" if not _dialog_left(scene):
            return Hold("the agent asks for a permission, and typing would answer that", DIALOG_SECONDS)
        case "exited":
            return Rest("the agent says that it has exited", 5)
        case "working" if not scene.dialect.while_working:
            return Rest("the agent works, and takes nothing meanwhile", 60)
    if scene.screen is None:
        return Rest("its terminal cannot be seen: the runtime does not answer", 2)
    return _on_screen(scene, scene.screen)


def _dialog_left(scene: Scene) -> bool:
    """Whether the dialog was left and the agent has not said so: some say nothing when a person presses Esc.

    Only what is seen counts: an agent whose dialogs cannot be known on a screen may still show one.
    """
    said_at, screen, dialect = scene.listener.activity_at, scene.screen, scene.dialect
    if said_at is None or screen is None or dialect.dialog is None or dialect.ready is None:
        return False
    if scene.now < later(said_at, seconds(DIALOG_SECONDS)):
        return False
    return evidence.is_ready(screen, dialect) and not evidence.dialog_open(screen, dialect)


def _on_screen(scene: Scene, screen: Screen) -> Rest | Hold | None:
    if evidence.dialog_open(screen, scene.dialect):
        return Hold("a dialog is open, and typing would answer it", 5)
    if not evidence.is_ready(screen, scene.dialect):
        return Rest("its input box is not there", 1)
    if scene.remains is not None and evidence.remains(screen, scene.remains, scene.dialect):
        return Hold("the input box still holds an earlier message; submit it or clear it by hand", 10)
    return None


def _cut_by_line(scene: Scene) -> Hold | Settle | None:
    """A program that reads lines gets only the beginning of a long one; one that starts or works may yet read keys."""
    if not scene.cuts:
        return None
    why = f"its agent reads lines, and of a line its terminal keeps {LINE} bytes"
    limit = BUSY_SECONDS if scene.listener.activity == "working" else LINES_SECONDS
    watched = scene.typing.watched if scene.typing is not None else 0.0
    if watched < limit:
        return Hold(f"{why}; looked at again", min(_again(watched), limit - watched), counts=True)
    return Settle("failed", f"{why}: put the text into a file and name that, or send it in shorter lines")


def _before_write(scene: Scene) -> Step:
    """It is on record that it is about to be typed, and nothing is: the last look."""
    listener = scene.listener
    if not listener.alive or listener.launch != scene.message.launch or listener.kill_asked:
        return Hold("its agent ended just before it was typed", 1)
    obstacle = _in_the_way(scene)
    if obstacle is None and scene.cuts:
        return Hold("its agent has gone over to reading lines, of which its terminal would cut one", 1)
    return Write() if obstacle is None else Hold(obstacle.reason, obstacle.after)


# --- something of it may have reached the agent ----------------------------------------------------------------


def _cut_meanwhile(scene: Scene) -> Settle | None:
    """Its echo and what the agent does are the same for a part of it. What comes after Enter cuts nothing any more."""
    if scene.cuts and scene.typing is not None and not scene.typing.carried and scene.typing.pressed_at is None:
        return Settle("unknown", "its terminal went over to lines while it was typed, and may have cut one of them")
    return None


def _after(scene: Scene) -> Step:
    how = _heard(scene)
    if how is not None:
        return Settle("confirmed", how)
    listener, typing = scene.listener, scene.typing or Typing(carried=True)
    if not listener.alive or listener.launch != scene.message.launch:
        return _gone(scene, typing)
    if (listener.activity == "blocked" and not _dialog_left(scene)) or (
        scene.screen is not None and evidence.dialog_open(scene.screen, scene.dialect)
    ):
        return Rest("a dialog is open; no key is pressed while it is", 5, counts=False)
    if typing.carried:
        return _carried(scene, typing)
    if scene.screen is None:
        return _bounded(scene, typing, "its terminal cannot be seen")
    return _by_screen(scene, typing, scene.screen)


def _heard(scene: Scene) -> str | None:
    """Evidence that the agent has it, by what it has said since."""
    if scene.typing is None or scene.typing.calm:
        if any(said.kind in _ACTS for said in scene.said):
            return "the agent went to work after it"
        return None
    rested = False
    for said in scene.said:  # it worked already: it must have come to rest and begun again
        if rested and said.kind in _ACTS:
            return "the agent rested and went to work after it"
        rested = rested or said.kind in _RESTS
    return None


def _gone(scene: Scene, typing: Typing) -> Step:
    if _seen_in_output(scene, typing):
        return Settle("confirmed", "its terminal showed it, and went on")
    if typing.watched < GONE_SECONDS:
        return Rest("its agent has ended; what it said last may come yet", 1)
    return Settle("unknown", "its agent ended before it said anything about it")


def _carried(scene: Scene, typing: Typing) -> Step:
    """The command line has carried it: what the agent does is the evidence that it has read it."""
    if _seen_in_output(scene, typing):
        return Settle("confirmed", "the agent was started with it, and its terminal shows something")
    if typing.watched < CARRIED_SECONDS:
        return Rest("the agent was started with it and has said nothing yet", 20)
    return Settle("unknown", f"the agent was started with it and has said nothing for {CARRIED_SECONDS:g} s")


def _by_screen(scene: Scene, typing: Typing, screen: Screen) -> Step:
    waited = typing.watched - typing.pressed
    if evidence.holds(screen, scene.message.text, scene.dialect, whole=typing.written):
        # Where nobody knows whether Enter was pressed, it may be on its way.
        pressed = scene.message.presses or (0 if scene.sure == "unpressed" else 1)
        return _not_submitted(pressed, waited, scene.dialect.settle)
    if scene.sure == "unpressed":
        return Press() if waited >= ECHO_SECONDS else Rest("its terminal has not shown it yet", 0.05)
    if scene.listener.speaks == "output" and _seen_in_output(scene, typing):
        return Settle("confirmed", "its terminal showed it, and went on")
    if not (typing.written or typing.slow or typing.pressed_at is not None):
        return _cut_off(scene, typing, screen)
    return _bounded(scene, typing, "nothing says that the agent has it")


def _cut_off(scene: Scene, typing: Typing, screen: Screen) -> Step:
    """Whoever wrote it ended in the middle, before Enter: nobody writes the rest of it, and no evidence is to come."""
    left = LEFT_SECONDS - typing.watched
    if left > 0:
        return Rest("its write was cut off; what was written of it may show yet", min(left, _again(typing.watched)))
    if evidence.remains(screen, scene.message.text, scene.dialect):
        return Settle("unknown", "its write was cut off, and a part of it may stand in the input box")
    return Settle("unknown", "its write was cut off, and the terminal shows nothing of it")


def _not_submitted(presses: int, waited: float, settle: float) -> Step:
    """It stands in the input box, so it was not submitted: the only time when a key is pressed again."""
    if presses < len(PRESS_AFTER):
        left = max(PRESS_AFTER[presses], settle) - waited
        return Press() if left <= 0 else Rest("it stands in the input box", left)
    if waited < 2 * PRESS_AFTER[-1]:
        return Rest("it stands in the input box", 1)
    return Settle("unknown", "it stands in the input box, and Enter did not submit it")


def _seen_in_output(scene: Scene, typing: Typing) -> bool:
    """Whether the terminal showed the text and something after it, and something since Enter where that is known."""
    if typing.carried:
        return scene.listener.speaks == "output" and evidence.shows_something(scene.output)
    if not evidence.has_echoed(scene.output, scene.message.text):
        return False
    return typing.pressed_at is None or evidence.shows_something(scene.answer)


def _bounded(scene: Scene, typing: Typing, why: str) -> Step:
    busy = not typing.calm and scene.listener.activity == "working"
    # A terminal that shows nothing at all since the write belongs to an agent that reads nothing: it may yet.
    unread = typing.written and not scene.output
    limit = BUSY_SECONDS if busy or unread else CONFIRM_SECONDS
    if typing.watched < limit:
        return Rest(why, _again(typing.watched))
    if scene.screen is not None and evidence.is_ready(scene.screen, scene.dialect) and _seen_in_output(scene, typing):
        return Settle("confirmed", "its terminal showed it, took it out of the input box, and went on")
    return Settle("unknown", f"{why}, {limit:g} s after it was typed")


def _again(watched: float) -> float:
    """Seconds until the next look: fewer and fewer are worth while."""
    return 1 if watched < CONFIRM_SECONDS / 6 else 5 if watched < CONFIRM_SECONDS else 30
