"""Pages, opened in a headless Chromium where there is one."""

import json
import re
import shutil
import subprocess

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
_OPTIONS = ["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
_ALWAYS = """
    said.width = document.documentElement.scrollWidth, said.phone = innerWidth;
    said.broken = [...document.images].filter((image) => image.complete && !image.naturalWidth).length
"""


def ask(page, script, folder, width=500):
    """Open a page as wide as a phone, or wider, run a script that fills `said`, and return that.

    It also holds the `width` that the page takes, that of the `phone`, and how many pictures are `broken`.
    """
    probe = f"const said = {{}}; {script}; {_ALWAYS}; document.title = JSON.stringify(said);"
    path = folder / "page.html"
    path.write_text(page.replace("</body>", f"<script>{{ {probe} }}</script></body>"))
    command = [CHROMIUM, *_OPTIONS, f"--window-size={width},900", f"--user-data-dir={folder}", path.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    return json.loads(re.search(r"<title>(.*?)</title>", shown)[1])
