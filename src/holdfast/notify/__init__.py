"""Telling people: what they are told of, as rows that stay until it is over."""

from holdfast.notify.pack import NOTIFY

__all__ = ["NOTIFY"]
