"""Starts fpm-listener from the zip file: it becomes `__main__.py` of fpm-listener.pyz.

Python 2.7 and 3.0 to 3.9 must be able to read this file, to print why they cannot run the rest.
"""

import os
import sys

if sys.version_info < (3, 10):
    sys.exit(
        "fpm-listener: %s is Python %s, but Python 3.10 or later is needed; start another one, for"
        " example: python3.12 %s" % (sys.executable, sys.version.split()[0], sys.argv[0])
    )
# Children get this path, too, and may have another working directory.
archive = os.path.dirname(os.path.abspath(__file__))
sys.path[0] = archive
# At the end: the supervisor of this Python is better, because it is the one that runs.
sys.path.append(os.path.join(archive, "fallback"))

from fpm_listener.__main__ import main

sys.exit(main())
