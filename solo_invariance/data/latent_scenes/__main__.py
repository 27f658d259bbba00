"""A contact sheet of the scenes: ``python -m solo_invariance.data.latent_scenes SHEET.png``."""

import sys

from solo_invariance.data.latent_scenes.dataset import contact_sheet

if len(sys.argv) != 2:
    sys.exit("usage: python -m solo_invariance.data.latent_scenes SHEET.png")
contact_sheet().save(sys.argv[1], optimize=True)
