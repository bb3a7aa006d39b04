"""The metadata that depends on the project's address: links of the long description, project URLs.

Law: without an address there are no links, rather than wrong ones. The README's stay relative.
"""

from __future__ import annotations

import re
import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

#: A link of Markdown, or an image of HTML, to a file of this repository.
_LINK = re.compile(r"\]\((?![a-z]+:|#|/)([^)\s]+)\)")
_IMAGE = re.compile(r'(src|srcset)="(?![a-z]+:|/)([^"\s]+)"')

MISSING = (
    "PROJECT_URL in fpm_listener/__init__.py is empty: this package has no project URLs, and the"
    " links of its description are relative; set it before you publish"
)


def project_url() -> str:
    """Return the address of the project without a slash at its end; empty = it is not set.

    The package is not imported, because its dependencies can be missing while it is built.
    """
    found: str = runpy.run_path(str(ROOT / "fpm_listener" / "__init__.py"))["PROJECT_URL"]
    if found and not found.startswith("https://"):
        raise SystemExit(f"PROJECT_URL in fpm_listener/__init__.py is {found!r}, without https://")
    return found.rstrip("/")


def long_description(url: str) -> str:
    """Return README.md with absolute links."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    if not url:
        return text
    text = _LINK.sub(rf"]({url}/blob/HEAD/\1)", text)
    return _IMAGE.sub(rf'\1="{url}/raw/HEAD/\2"', text)


def project_urls(url: str) -> dict[str, str]:
    """Return the links that a package index shows beside the description."""
    if not url:
        return {}
    return {
        "Homepage": url,
        "Documentation": f"{url}/blob/HEAD/README.md",
        "Changelog": f"{url}/blob/HEAD/CHANGELOG.md",
        "Issues": f"{url}/issues",
    }


def runbook_url(url: str, alert: str) -> str:
    """Return the annotation `runbook_url` of a rule; without an address it is a path."""
    base = f"{url}/blob/HEAD/" if url else ""
    return f"{base}docs/runbook.md#{alert.lower()}"
