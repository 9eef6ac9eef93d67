"""``python -m convscope.cli`` is ``convscope``."""

import sys

from convscope.cli._app import main

sys.exit(main())
