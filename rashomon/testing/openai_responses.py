from typing import Any
class Stored:
    def resolved(self, raw: dict[str, Any]) -> dict[str, Any]: return raw
