"""Copies the app's and the Swift package's sources into the wheel; everything else is in
pyproject.toml.
"""

import os
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

#: Folders of the checkout that travel inside the package, without what their own builds leave.
SOURCES = ("android_demo", "ios_export")
LEFT_OUT = shutil.ignore_patterns(
    "build", "target", ".gradle", ".idea", ".build", "local.properties", "*.class", "__pycache__"
)


class BuildWithSources(build_py):
    """``build_py`` that adds the checkout's source folders to the package."""

    def run(self) -> None:
        """Build the package, then copy the folders; an editable install reads them from the
        checkout.
        """
        super().run()
        if self.editable_mode:
            return
        for name in filter(os.path.isdir, SOURCES):
            shutil.copytree(
                Path(name),
                Path(self.build_lib, "mobilekd", name),
                ignore=LEFT_OUT,
                dirs_exist_ok=True,
            )


setup(cmdclass={"build_py": BuildWithSources})
