"""The one plain page at `/`: what the fleet does, what it needs, and what has just changed. It only reads."""

from holdfast.page.pack import PAGE

__all__ = ["PAGE"]
