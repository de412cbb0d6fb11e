"""``python -m napari_vessel.cli`` is the command ``napari-vessel``."""

import sys

from napari_vessel.cli import main

sys.exit(main())
