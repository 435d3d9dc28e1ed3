"""What a carrier is made of."""

from dataclasses import dataclass
from pathlib import Path

from tunnel_whisperer.config import RelayConfig
from tunnel_whisperer.identity import Identity


@dataclass(frozen=True, slots=True)
class CarrierSettings:
    """Where the relay is, the path of our entry there (`/tw/<tenant>`), and who we are."""

    relay: RelayConfig
    path: str
    identity: Identity

    @classmethod
    def for_entry(
        cls, relay: RelayConfig, entry: str, identity_dir: Path, state_dir: Path | None = None
    ) -> "CarrierSettings":
        """Build the settings for a tenant's entry, or the operator's."""
        return cls(relay=relay, path=f"/tw/{entry}", identity=Identity(identity_dir, state_dir))
