"""The pack of the page: its routes; it keeps nothing."""

from __future__ import annotations

from holdfast.core.pack import Pack
from holdfast.page.routes import ROUTES

PAGE = Pack(name="page", package="holdfast.page", routes=ROUTES)
