"""Brings messages to agents: types, presses Enter and finds evidence, as the decider says, one step after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, assert_never

import msgspec
from msgspec.structs import replace

from holdfast.core import faults
from holdfast.core.clock import boot_ns
from holdfast.core.errors import StoreClosed, StoreError
from holdfast.core.instants import parse_stamp
from holdfast.core.lifecycle import spawn
from holdfast.core.propagation.outcome import Cancel, Done, Outcome, Wait
from holdfast.fleet.messages import rows, words
from holdfast.fleet.messages.decider import (
    Hold,
    Listener,
    Message,
    Over,
    Press,
    Rest,
    Said,
    Scene,
    Settle,
    Step,
    Sure,
    Type,
    Typing,
    Write,
    decide,
)
from holdfast.fleet.messages.words import AFTER
from holdfast.fleet.runtimes.line_mode import LINE
from holdfast.fleet.runtimes.port import Handle, NotThere, RuntimeFailed

if TYPE_CHECKING:
    from holdfast.core.clock import Clock
    from holdfast.core.propagation.job import Job
    from holdfast.core.store.port import Reader, Row, Store, Unit
    from holdfast.fleet.agents.declare import Agent
    from holdfast.fleet.messages.kinds import Saying
    from holdfast.fleet.messages.words import State
    from holdfast.fleet.runtimes.port import Runtime, Screen
    from holdfast.fleet.runtimes.recording import Recording

TYPED = faults.point("message.typed", "a message is recorded as typed, and no byte of it is written")
WRITTEN = faults.point("message.written", "a message stands in the terminal, and no row says that all of it does")
PRESSED = faults.point("message.pressed", "Enter was pressed, and no row says so")
SUBMITTED = faults.point("message.submitted", "a message is recorded as submitted, and no evidence was looked for")

#: Seconds after a key was pressed during which evidence is waited for on the spot, and between two looks then.
_STAY, _LOOK = 2.0, 0.1
#: While the store cannot, the message waits; nothing has failed.
_STORE_SECONDS = 2.0
#: While a runtime cannot, too.
_AGAIN_SECONDS = 1.0
#: So many of the first signals since the typing decide.
_SIGNALS = 200
#: So much of the recorded output is searched; it holds what a terminal shows many times over.
_WINDOW = 256 * 1024


class Delivery:
    """The handler of `fleet.message`."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        runtimes: Callable[[str], Runtime],
        agents: Callable[[str], Agent],
        recordings: Callable[[str], Recording],
        *,
        boot: Callable[[], int] = boot_ns,
    ) -> None:
        self.store = store
        self.clock = clock
        self.runtimes = runtimes
        self.agents = agents
        self.recordings = recordings
        self.boot = boot

    async def __call__(self, job: Job[Saying]) -> Outcome:
        """Bring one message as far as it comes now."""
        try:
            row = await self.store.read(lambda reader: rows.by_id(reader, job.payload.message))
            if row is None:
                return Cancel("the message is not there any more")
            return await _Attempt(self, job, row).run()
        except StoreClosed:
            raise
        except StoreError as error:
            if not error.retryable:
                raise
            return Wait(f"the store cannot take it now: {error.message}", _STORE_SECONDS)


class _Attempt:
    """One try of one message, and what this process knows of it for sure."""

    def __init__(self, delivery: Delivery, job: Job[Saying], row: Row) -> None:
        self._by = delivery
        self._job = job
        self._text = words.typeable(row["text"]).text
        self._row = row
        self._long = words.longest_line(self._text) > LINE
        self._typing = msgspec.convert(job.progress, Typing) if job.progress is not None else None
        self._sure: Sure | None = None
        #: The terminal that was seen last, by its runtime.
        self._terminal: tuple[Runtime, Handle] | None = None
        #: On the steady clock: when it was looked at last, and until when evidence is waited for on the spot.
        self._seen = self._stay = delivery.clock.monotonic()

    async def run(self) -> Outcome:
        """Step by step, until there is nothing to do now."""
        self._begin()
        woken = asyncio.Event()
        unlisten = self._by.store.on_topic(rows.topic(self._row["session"]), woken.set)
        try:
            while True:
                woken.clear()
                self._tick()
                scene = await self._scene()
                if scene is None:
                    return Cancel("the session is not there any more")
                outcome = await self._do(decide(scene), scene, woken)
                if outcome is not None:
                    return outcome
        finally:
            unlisten()

    def _begin(self) -> None:
        now = self._by.clock.stamp()
        if self._row["state"] not in AFTER and (self._typing is None or not self._typing.ahead):
            self._typing = None
        elif self._typing is None:
            self._typing = Typing(carried=True, looked_at=now)
        else:
            # A clock that was moved counts for no more than the time it was to be left alone.
            since = parse_stamp(self._typing.looked_at or now)
            away = (parse_stamp(now) - since).total_seconds()
            self._watch(min(max(0.0, away), self._typing.left_for + 1))

    # --- looking -----------------------------------------------------------------------------------------------

    async def _scene(self) -> Scene | None:
        typing, message_id = self._typing, self._job.payload.message

        def work(reader: Reader) -> tuple[Row, Row | None, list[Row], Row | None]:
            head = reader.one(rows.SQL.head, id=message_id)
            assert head is not None  # messages are not removed one by one
            session = head["session"]
            said: list[Row] = []
            if typing is not None and head["state"] in AFTER:
                said = reader.all(
                    rows.SQL.said_since, session=session, launch=head["launch"], seq=typing.seq, limit=_SIGNALS
                )
            listener = reader.one(rows.SQL.listener, id=session)
            launch = listener["launch"] if listener is not None else 0
            left = reader.one(rows.SQL.last_unknown, session=session, launch=launch, id=message_id)
            return head, listener, said, left

        self._row, listener, said, left = await self._by.store.read(work)
        if listener is None:
            return None
        output, answer = await self._recorded()
        screen, cuts = await self._screen(listener)
        return Scene(
            message=self._message(),
            listener=_listener(listener),
            now=self._by.clock.stamp(),
            dialect=self._by.agents(listener["agent"]).input,
            screen=screen,
            cuts=cuts,
            typing=typing,
            said=tuple(Said(each["seq"], each["kind"]) for each in said),
            output=output,
            answer=answer,
            remains=None if left is None else words.typeable(left["text"]).text,
            sure=self._sure,
        )

    def _message(self) -> Message:
        head = self._row
        return Message(
            head["id"], head["session"], head["kind"], head["state"], head["launch"], head["presses"], self._text
        )

    async def _screen(self, listener: Row) -> tuple[Screen | None, bool]:
        """What the terminal of the present launch shows, and whether it would cut the text.

        Looked at last, so that it is the newest of what is known.
        """
        self._terminal = None
        state = self._row["state"]
        if listener["handle"] is None or listener["alive_since"] is None or state in words.OVER:
            return None, False
        if state in AFTER and listener["launch"] != self._row["launch"]:
            return None, False
        runtime = self._by.runtimes(listener["runtime"])
        handle = msgspec.json.decode(listener["handle"], type=Handle)
        try:
            screen = await runtime.screen(handle)
            cuts = self._long and await runtime.reads_lines(handle)
        except (RuntimeFailed, NotThere):
            return None, False
        self._terminal = runtime, handle
        return screen, cuts

    async def _recorded(self) -> tuple[bytes, bytes]:
        typing = self._typing
        if typing is None or self._row["state"] not in AFTER:
            return b"", b""
        recording = self._by.recordings(self._row["session"])

        def work() -> tuple[bytes, bytes]:
            since = _since(recording, self._row["offset_at"])
            return since, b"" if typing.pressed_at is None else _since(recording, typing.pressed_at)

        return await asyncio.to_thread(work)

    # --- doing -------------------------------------------------------------------------------------------------

    async def _do(self, step: Step, scene: Scene, woken: asyncio.Event) -> Outcome | None:
        """Do a step; the outcome when there is nothing more to do now."""
        outcome: Outcome | None = None
        match step:
            case Over():
                outcome = Done()
            case Settle(end=end, why=why):
                outcome = Done(lambda unit: self._move(unit, end, why))
            case Hold():
                outcome = await self._hold(step)
            case Type():
                await self._type(scene)
            case Write():
                outcome = await self._write()
            case Press():
                outcome = await self._press()
            case Rest():
                outcome = await self._rest(step, woken)
            case _:
                assert_never(step)
        return outcome

    async def _hold(self, hold: Hold) -> Outcome:
        def work(unit: Unit) -> None:
            if self._row["state"] != "held":
                self._move(unit, "held", hold.reason)

        if hold.counts:
            watched = self._typing or Typing(ahead=True)
            await self._note(replace(watched, looked_at=self._by.clock.stamp(), left_for=hold.after), work)
        elif self._row["state"] != "held":
            await self._job.unit(work)
        return Wait(hold.reason, hold.after)

    async def _type(self, scene: Scene) -> None:
        """Record the intent, so that no byte is ever written that nobody knows of."""
        listener = scene.listener
        offset = await asyncio.to_thread(self._by.recordings(self._row["session"]).size)
        # An agent whose dialog was left may have gone on with its work without a word.
        calm = listener.activity not in {"working", "blocked"}
        typing = Typing(seq=self._by.boot(), calm=calm, looked_at=self._by.clock.stamp())
        moved = False

        def work(unit: Unit) -> None:
            nonlocal moved
            moved = self._move(unit, "typed", None)
            if moved:
                unit.run(rows.SQL.intend, id=self._row["id"], launch=listener.launch, offset_at=offset)

        await self._job.advance(msgspec.to_builtins(typing), work)
        if moved:
            self._typing, self._sure = typing, "unwritten"
            await TYPED.passed()

    async def _write(self) -> Outcome | None:
        assert self._typing is not None  # nothing is written before it is on record
        assert self._terminal is not None  # its screen was just seen
        runtime, handle = self._terminal
        self._sure = None
        try:
            await runtime.paste(handle, self._text)
        except (RuntimeFailed, NotThere) as error:
            await self._note(replace(self._typing, slow=True))
            return Wait(f"it could not be written, or not all of it: {error.message}", _AGAIN_SECONDS)
        await WRITTEN.passed()
        await self._note(replace(self._typing, written=True))
        self._sure, self._seen = "unpressed", self._by.clock.monotonic()
        self._stay = self._seen + _STAY
        return None

    async def _press(self) -> Outcome | None:
        assert self._typing is not None  # only what was typed is submitted
        assert self._terminal is not None  # its screen was just seen
        runtime, handle = self._terminal
        self._sure = None
        pressed_at = await asyncio.to_thread(self._by.recordings(self._row["session"]).size)
        try:
            await runtime.press(handle, "enter")
        except (RuntimeFailed, NotThere) as error:
            return Wait(f"Enter could not be pressed: {error.message}", _AGAIN_SECONDS)
        await PRESSED.passed()

        def work(unit: Unit) -> None:
            if self._row["state"] == "submitted" or self._move(unit, "submitted", None):
                unit.run(rows.SQL.press, id=self._row["id"])

        await self._note(replace(self._typing, pressed_at=pressed_at, pressed=self._typing.watched), work)
        await SUBMITTED.passed()
        self._stay = self._by.clock.monotonic() + _STAY
        return None

    async def _rest(self, rest: Rest, woken: asyncio.Event) -> Outcome | None:
        """Wait on the spot where a key was just pressed; else give the place to others."""
        if self._row["state"] in AFTER and self._typing is not None:
            if rest.counts and self._by.clock.monotonic() < self._stay:
                await self._pause(min(rest.after, _LOOK), woken)
                return None
            looked_at = self._by.clock.stamp() if rest.counts else ""
            await self._note(replace(self._typing, looked_at=looked_at, left_for=rest.after))
        return Wait(rest.reason, rest.after)

    async def _pause(self, seconds: float, woken: asyncio.Event) -> None:
        waits = [
            spawn(self._by.clock.sleep(seconds), name="message: look again", vital=False),
            spawn(woken.wait(), name="message: evidence", vital=False),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    # --- noting ------------------------------------------------------------------------------------------------

    def _move(self, unit: Unit, end: State, reason: str | None) -> bool:
        return rows.move(unit, self._row["id"], self._row["state"], end, reason)

    async def _note(self, typing: Typing, work: Callable[[Unit], object] | None = None) -> None:
        await self._job.advance(msgspec.to_builtins(typing), work)
        self._typing = typing

    def _tick(self) -> None:
        now = self._by.clock.monotonic()
        self._watch(now - self._seen)
        self._seen = now

    def _watch(self, seconds: float) -> None:
        if self._typing is not None:
            self._typing = replace(self._typing, watched=self._typing.watched + seconds)


def _listener(row: Row) -> Listener:
    return Listener(
        launch=row["launch"],
        state=row["state"],
        speaks=row["speaks"],
        alive=row["alive_since"] is not None and row["handle"] is not None,
        activity=row["activity"],
        activity_at=row["activity_at"],
        reason=row["reason"],
        wanted=row["wanted"],
        kill_asked=row["kill_asked_at"] is not None,
        ended_at=row["ended_at"],
        notice=row["notice"] is not None,
    )


def _since(recording: Recording, offset: int) -> bytes:
    """What was recorded from an offset on: the newest of it, if it is much. Blocks briefly."""
    parts: list[bytes] = []
    at = max(offset, recording.size() - _WINDOW)
    while (chunk := recording.read(at, _WINDOW)).data:
        parts.append(chunk.data)
        at = chunk.next
    return b"".join(parts)
