"""Holdfast: one durable daemon that keeps watch over fleets of coding agents and never loses track."""

__version__ = "0.1.0"
