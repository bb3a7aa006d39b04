"""Adds the metadata that setup.cfg cannot compute."""

from __future__ import annotations

import sys
from pathlib import Path

from setuptools import setup

sys.path.insert(0, str(Path(__file__).resolve().parent))
from release import metadata

url = metadata.project_url()
if not url and {"sdist", "bdist_wheel"}.intersection(sys.argv):
    print(metadata.MISSING, file=sys.stderr)
setup(long_description=metadata.long_description(url), project_urls=metadata.project_urls(url))
