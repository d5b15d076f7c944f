"""The one tree of errors: every one names its code, its HTTP status and whether trying again can help."""

from __future__ import annotations

from typing import Any, ClassVar


class HoldfastError(Exception):
    """Something Holdfast can explain: the message says what happened, to what, and what to do."""

    code: ClassVar[str] = "internal"
    http_status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    #: Seconds after which trying again makes sense; sent as Retry-After where the status calls for it.
    retry_after: ClassVar[int] = 1

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class Malformed(HoldfastError):
    """The request cannot be read at all: broken JSON, a header or parameter of the wrong form."""

    code = "malformed"
    http_status = 400


class Unauthenticated(HoldfastError):
    """No token was sent, or the one that was sent is unknown, expired or revoked."""

    code = "unauthenticated"
    http_status = 401


class Forbidden(HoldfastError):
    """The token is good but does not reach this far, or the Host or Origin is not ours."""

    code = "forbidden"
    http_status = 403


class NotFound(HoldfastError):
    """Nothing has this id."""

    code = "not_found"
    http_status = 404


class MethodNotAllowed(HoldfastError):
    """The address is there, but not for this method."""

    code = "method_not_allowed"
    http_status = 405


class Conflict(HoldfastError):
    """What is asked for contradicts what is there."""

    code = "conflict"
    http_status = 409


class TooLarge(HoldfastError):
    """The request is larger than this daemon takes."""

    code = "too_large"
    http_status = 413


class TooSlow(HoldfastError):
    """The request did not become whole in time."""

    code = "too_slow"
    http_status = 408
    retryable = True


class UnsupportedMedia(HoldfastError):
    """The body is not in the form that this route reads."""

    code = "unsupported_media"
    http_status = 415


class Invalid(HoldfastError):
    """The request was read and understood, but what it says cannot be."""

    code = "invalid"
    http_status = 422


class Unavailable(HoldfastError):
    """The daemon cannot do this now and may be able to soon."""

    code = "unavailable"
    http_status = 503
    retryable = True


class LeaseLost(HoldfastError):
    """Somebody else does this effect now: what this process does about it does not count any more."""

    code = "lease_lost"


# --- the store -------------------------------------------------------------------------------------------------


class StoreError(HoldfastError):
    """The store could not do what was asked of it."""

    code = "store"


class DuplicateRow(StoreError):
    """A row with this key is there already."""

    code = "duplicate"
    http_status = 409


class MissingReference(StoreError):
    """The row points at another that is not there, or others still point at it."""

    code = "missing_reference"
    http_status = 409


class BrokenRule(StoreError):
    """The row breaks a rule of its table: a missing value, a wrong type, a rule written in a trigger."""

    code = "broken_rule"
    http_status = 422


class StoreFull(StoreError):
    """The disk has no room. Nothing was written; it can be tried again when there is room."""

    code = "store_full"
    http_status = 503
    retryable = True
    retry_after = 30


class StoreBusy(StoreError):
    """Too much is waiting for the store, or others kept it busy for too long. Nothing was written."""

    code = "store_busy"
    http_status = 503
    retryable = True


class UnitTooLong(StoreError):
    """A unit of work or a read ran past its time and was stopped. Nothing was written."""

    code = "unit_too_long"
    http_status = 503
    retryable = True


class StoreLost(StoreError):
    """The connection to the store broke, or the disk under it failed."""

    code = "store_lost"
    http_status = 503
    retryable = True


class StoreInDoubt(StoreLost):
    """The connection broke during a commit, and how that ended could not be found out: it may be there or not."""

    code = "store_in_doubt"
    http_status = 500  # not 503, which comes with Retry-After
    retryable = False


class StoreClosed(StoreError):
    """The store is closed or closing: the daemon is on its way down."""

    code = "store_closed"
    http_status = 503
    retryable = True


class StoreRefused(StoreError):
    """The store must not be opened as it is. Nothing was written to it; the message says what to do."""

    code = "store_refused"


class StoreCorrupt(StoreRefused):
    """The file is not a database, or is damaged. It is left as it is, never replaced."""

    code = "store_corrupt"


class StoreReadOnly(StoreRefused):
    """The data folder or the file cannot be written."""

    code = "store_read_only"


class StoreNewer(StoreRefused):
    """The store was written by a newer version of Holdfast."""

    code = "store_newer"


class StoreBehind(StoreRefused):
    """The store has gone back in time: it lacks writes that were acknowledged."""

    code = "store_behind"


class SchemaMismatch(StoreRefused):
    """The tables, columns, triggers or indexes are not the declared ones."""

    code = "schema_mismatch"


class DataInUse(StoreRefused):
    """Another daemon holds this data folder."""

    code = "data_in_use"


class StoreForeign(StoreRefused):
    """The database holds something that Holdfast did not write."""

    code = "store_foreign"


# --- the daemon ------------------------------------------------------------------------------------------------


class ListenRefused(HoldfastError):
    """The address cannot be listened on: taken, not of this machine, or open to others without need."""

    code = "listen_refused"
