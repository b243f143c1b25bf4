"""Traces from and for other tools: OpenTelemetry, OpenInference, lists of messages."""

from rashomon.interchange.reading import read

__all__ = ["read"]
