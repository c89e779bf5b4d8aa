"""python -m gui, and what the frozen app starts; with --worker or --download it is the engine instead."""

from __future__ import annotations

import sys


def start() -> int:
    """Returns the exit status."""
    if "--worker" in sys.argv[1:]:
        from i2v_mlx import worker

        return worker.main()
    if "--download" in sys.argv[1:]:
        from i2v_mlx import cli

        return cli.main(["download", "--json"])

    from .app import main

    return main()


if __name__ == "__main__":
    sys.exit(start())
