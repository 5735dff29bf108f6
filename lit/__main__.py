"""``python -m lit``."""

import sys

from lit.cli import main

if __name__ == "__main__":
    sys.exit(main())
