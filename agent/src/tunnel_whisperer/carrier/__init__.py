"""Carriers: paths to the relay, each one TLS connection made by a supervised Xray.

`settings` is what a carrier is made of, `xray_config` turns that into Xray's configuration (no I/O), `child` keeps a
process alive, `carrier` joins them and dials streams, `api` manages the users of the relay's Xray.
"""

from tunnel_whisperer.carrier.carrier import XrayCarrier
from tunnel_whisperer.carrier.settings import CarrierSettings

__all__ = ["CarrierSettings", "XrayCarrier"]
