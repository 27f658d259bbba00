"""Takes the pictures of pages that README and the documentation show, with a Chromium that is installed.

python docs/pictures/photograph.py studies/rendered/study.json docs/study.png [HEIGHT]

A ``study.json`` is drawn as its page first; a page in HTML is taken as it is.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from solo_invariance.results.study import StudyResult
from solo_invariance.study.page import write_study_page

WIDTH, HEIGHT = 1200, 1500
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def photograph(page: Path, out: Path, height: int = HEIGHT) -> None:
    """Write a picture (PNG) of the upper part of a page, ``WIDTH`` pixels wide, in light colours."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise SystemExit(f"needs one of {', '.join(BROWSERS)}")
    options = ("--headless", "--no-sandbox", "--hide-scrollbars", f"--window-size={WIDTH},{height}")
    taken = [browser, *options, f"--screenshot={out.resolve()}", page.resolve().as_uri()]
    subprocess.run(taken, check=True, capture_output=True)


def main(source: str, out: str, height: str = str(HEIGHT)) -> None:
    """Take the picture of a page, or of a study's."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(source)
        if page.suffix == ".json":
            page = write_study_page(StudyResult.read(page), Path(folder) / "study.html")
        photograph(page, Path(out), int(height))


if __name__ == "__main__":
    main(*sys.argv[1:])
