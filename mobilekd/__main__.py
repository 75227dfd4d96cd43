"""``python -m mobilekd``."""

import sys

from mobilekd.cli import main

if __name__ == "__main__":
    sys.exit(main())
