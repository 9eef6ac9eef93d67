"""``python -m convscope`` is ``convscope``."""

import sys

from convscope.cli import main

sys.exit(main())
