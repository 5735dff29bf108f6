"""``python -m lit``."""

import os
import sys

if __name__ == "__main__":
    if not sys.flags.utf8_mode and sys.getfilesystemencoding().lower() != "utf-8":
        # Another locale would read and write every text in its own encoding; Python takes the mode only at its start.
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    from lit.cli import main

    sys.exit(main())
