"""No test depends on how fast the machine is: executors choose by fixed figures, in processes that tests start too."""

import os

os.environ["FEDLANG_CALIBRATION"] = "off"
