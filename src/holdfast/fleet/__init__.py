"""Fleets of coding agents: projects, and later their sessions, pulls and reactions."""

from holdfast.fleet.pack import FLEET

__all__ = ["FLEET"]
