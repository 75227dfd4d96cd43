"""mobilekd: distil skin-lesion classifiers into phone models, prove every lowering step, measure them on the phone.

Importing this package loads nothing heavy; every command of the same name lives in the module of that name
(``mobilekd.distill.distill``, ``mobilekd.export.export``, ...).
"""

__version__ = "0.1.0"
