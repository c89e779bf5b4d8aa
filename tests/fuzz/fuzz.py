"""``make fuzz``: every target for its share of FUZZ_MINUTES (default 20), each in a process of its own.

What is found is kept in .hypothesis, so that the next run begins with it, and told in full in a log that is named here.
A process that dies leaves the file it died of in its folder.
"""

from __future__ import annotations

import faulthandler
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUND = 100  # examples; a round that finds nothing is followed by another, with other examples


def main() -> int:
    minutes = float(os.environ.get("FUZZ_MINUTES", "20"))
    from targets import TARGETS

    names = sys.argv[1:] or list(TARGETS)
    logs = Path(tempfile.mkdtemp(prefix="livestill-fuzz-logs-"))
    failed = []
    for name in names:
        seconds = 60 * minutes / len(names)
        with (logs / f"{name}.log").open("w+") as log:
            child = subprocess.run([sys.executable, __file__, "--only", name, str(seconds)], stderr=log, check=False)
            if child.returncode != 0:
                failed.append(f"{name} (exit code {child.returncode}, {log.name})")
    print("fuzz: " + (f"FAILED: {', '.join(failed)}" if failed else f"{len(names)} targets, nothing found"))
    return bool(failed)


def one(name: str, seconds: float) -> int:
    """Runs a target until its time is over."""
    from hypothesis import HealthCheck, settings
    from targets import FOLDER, TARGETS

    faulthandler.enable()
    rounds, began = 0, time.monotonic()
    run = settings(max_examples=ROUND, deadline=None, suppress_health_check=list(HealthCheck))(TARGETS[name])
    print(f"{name}: {seconds:.0f} s, files in {FOLDER}", flush=True)
    while time.monotonic() - began < seconds:
        run()
        rounds += 1
    shutil.rmtree(FOLDER)
    print(f"{name}: {rounds * ROUND} examples in {time.monotonic() - began:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(one(sys.argv[2], float(sys.argv[3])) if sys.argv[1:2] == ["--only"] else main())
