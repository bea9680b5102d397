"""Run ``kamou`` as ``python -m kamou``."""

from __future__ import annotations

from kamou.cli import main

if __name__ == "__main__":
    main()
