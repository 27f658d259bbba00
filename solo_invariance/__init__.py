"""Choose, measure, fuse and transfer the invariances of self-supervised backbones.

Importing this package imports nothing heavy; each part is a subpackage of its own: ``families``, ``backbones``,
``measure``, ``fuse``, ``transfer``, ``data``, ``report`` and ``hosts``.
"""

__version__ = "0.1.0"
