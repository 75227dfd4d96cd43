"""The C++ runner: its sources, and how they are built for this machine and for arm64."""
