"""The version installed. On the lowest floor, so that every package can record it in what it writes."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("napari-vessel")
except PackageNotFoundError:
    __version__ = "0+unknown"
