"""Moved to `regard.system.files`."""

from regard.system.files import increment_path as next_folder

__all__ = ["next_folder"]
