"""The one thing that setup.cfg cannot say: the migrations of the core are installed inside `app`.

`migrations/` stands at the top of the repository. Installed under that name, it would be in the way of any other
project that does the same.
"""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["app*", "plugins*"]), "app._migrations"],
    package_dir={"app._migrations": "migrations"},
)
