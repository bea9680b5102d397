"""``python -m kamou`` is ``kamou``."""

from __future__ import annotations

from kamou.cli import main

if __name__ == "__main__":
    main()
