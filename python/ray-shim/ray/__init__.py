"""Importing this makes ``ray`` and all its modules those of ``weft``, here and in what this process starts."""

import sys

import weft
from weft import _ray

_ray.install()
sys.modules[__name__] = weft
