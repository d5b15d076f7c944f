"""The one door of writes: the change, its audit row and its Idempotency-Key commit together or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from holdfast.core import audit, faults
from holdfast.core.errors import StoreError
from holdfast.core.idempotency import Kept, Key, key_of
from holdfast.core.store.port import Act
from holdfast.core.web.routes import Reply

if TYPE_CHECKING:
    from holdfast.core.store.port import Unit
    from holdfast.core.web.routes import Call

COMMITTED = faults.point("web.write.committed", "a write is durable, its answer is not sent yet")
REPLAYED = (b"idempotency-replayed", b"true")


@dataclass(frozen=True, slots=True)
class Written:
    """What a write came to."""

    reply: Reply
    #: What was acted on, and what of it is worth recording: never a secret.
    subject: str
    detail: Mapping[str, Any] = field(default_factory=dict)
    #: The body that is kept under the Idempotency-Key, where the answer holds a secret.
    kept: bytes | None = None
    #: Whether anything was done that belongs on record.
    acted: bool = True


async def write(call: Call, kind: str, work: Callable[[Unit], Written]) -> Reply:
    """Run `work` as one unit with its act of this kind on record; a repeated key gets the first answer again."""
    identity = call.caller
    given = call.header(b"idempotency-key")
    keeper = call.deps.keeper
    key: Key | None = None
    if given is not None:
        target = f"{call.scope['path']}?{call.scope['query_string'].decode('latin-1')}"
        key = key_of(given, identity.token_id, call.scope["method"], target, call.raw_body)
    forget = key is not None and keeper.due()

    def unit_work(unit: Unit) -> Reply:
        if key is not None:
            if forget:
                keeper.forget_old(unit)
            kept = keeper.claim(unit, key)
            if kept is not None:
                return Reply(kept.body.encode(), kept.status, (REPLAYED,))
        written = work(unit)
        if written.acted:
            audit.record(unit, kind, written.subject, written.detail)
        if key is not None:
            body = written.reply.body if written.kept is None else written.kept
            keeper.keep(unit, key, Kept(written.reply.status, body.decode()))
        return written.reply

    try:
        reply = await call.deps.store.unit(Act(identity.actor, call.request_id), unit_work)
    except StoreError as error:
        call.deps.readiness.writing.refused(error)
        raise
    await COMMITTED.passed()
    return reply
