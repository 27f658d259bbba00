"""Lightning goes by two packages, whose Trainers of version 2.1 refuse each other's callbacks."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:

    class OtherCallback:
        """Base of what a Trainer of ``pytorch_lightning`` takes."""

else:
    try:
        from pytorch_lightning import Callback as OtherCallback
    except ImportError:  # is not installed, so that there is one package

        class OtherCallback:
            """Base of what a Trainer of ``pytorch_lightning`` would take."""
