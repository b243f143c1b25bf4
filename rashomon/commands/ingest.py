"""`rashomon ingest`: take journals into the store."""

EXAMPLE = "Example: rashomon ingest"


def ingest() -> None:
    """Take journals into the store."""
