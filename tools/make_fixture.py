"""Record the demo's agent into fixtures/tapes: once for each version of the journal, and never again for it.

Usage: make_fixture.py NAME. Writes NAME.rsj (the journal of the process, deltas and all) and NAME.json (what any later
version must read out of it).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rashomon import tapes
from rashomon.testing import ProviderServer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.support import contents  # noqa: E402


def main() -> None:
    """Record and write both files."""
    name = sys.argv[1]
    with tempfile.TemporaryDirectory(prefix="rashomon-") as home, ProviderServer(seed=4) as server:
        agent = (ROOT / "rashomon" / "demo" / "refund_agent.py").read_text()
        program = agent.replace(
            "    asyncio.run(main())", "    with rashomon.trace('refund'):\n        asyncio.run(main())"
        )
        Path(home, "agent.py").write_text(program)
        path = os.path.dirname(sys.executable) + os.pathsep + os.environ.get("PATH", "")
        environ = {**os.environ, **server.environ(), "RASHOMON_HOME": home, "PATH": path}
        # no path of the machine that made it: the command is `python agent.py`
        command = ["python", "agent.py"]
        subprocess.run(command, check=True, env=environ, stdout=subprocess.DEVNULL, cwd=home)
        journal = next(Path(home, "journals").glob("*.rsj"))
        target = ROOT / "fixtures" / "tapes" / f"{name}.rsj"
        target.write_bytes(journal.read_bytes())
    read = contents(tapes.only_tape(target))
    target.with_suffix(".json").write_text(json.dumps(read, indent=1) + "\n")


if __name__ == "__main__":
    main()
