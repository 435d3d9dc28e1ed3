"""Tunnel Whisperer's agent: bridges for TCP ports between closed networks, over HTTPS only."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("tunnel-whisperer")
except PackageNotFoundError:  # imported from the source tree, as the collection's plan does on the controller
    __version__ = "0+source"
