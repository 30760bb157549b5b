"""Takes the process along."""

import sys

sys.exit(3)
