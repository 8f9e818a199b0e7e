"""Where profiles go."""

from app.sinks.sink import Permit, Sink

__all__ = ["Permit", "Sink"]
