"""What a carrier is made of."""

from dataclasses import dataclass
from pathlib import Path

from tunnel_whisperer.config import RelayConfig


@dataclass(frozen=True, slots=True)
class CarrierSettings:
    """Where the relay is, the path of our entry there (`/tw/<tenant>`), and the directory that says who we are."""

    relay: RelayConfig
    path: str
    identity_dir: Path

    @classmethod
    def for_entry(cls, relay: RelayConfig, entry: str, identity_dir: Path) -> "CarrierSettings":
        """Build the settings for a tenant's entry, or the operator's."""
        return cls(relay=relay, path=f"/tw/{entry}", identity_dir=identity_dir)
