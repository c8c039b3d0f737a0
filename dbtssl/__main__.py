"""``python -m dbtssl``."""

from __future__ import annotations

from dbtssl.cli.main import main

if __name__ == "__main__":
    main(prog_name="dbtssl")
