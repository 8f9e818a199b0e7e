"""Sinks: where a flow writes profiles."""

from app.sinks.sink import Permit, Sink

__all__ = ["Permit", "Sink"]
