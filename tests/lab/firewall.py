"""The lab's nftables rules as text: the two sites' gateways, and the machine's masquerade for the control node."""

from __future__ import annotations


def gate_rules() -> str:
    """Rules of a strict site: out by TCP 443 and DNS only, nothing in, addresses hidden."""
    return """\
table inet gate {
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        iifname "lan" oifname "wan" tcp dport { 53, 443 } accept
        iifname "lan" oifname "wan" udp dport 53 accept
        iifname "lan" counter reject with icmpx type admin-prohibited
        counter
    }
    chain input {
        type filter hook input priority filter; policy drop;
        ct state established,related accept
        iifname "lo" accept
        iifname "lan" icmp type echo-request accept
    }
    chain postrouting {
        type nat hook postrouting priority srcnat;
        oifname "wan" masquerade
    }
}
"""


def uplink_rules(table: str, uplink: str, network: str) -> str:
    """Rules on the machine: the control node may go out under the machine's address, nobody may come in to it."""
    return f"""\
table ip {table}
delete table ip {table}
table ip {table} {{
    chain forward {{
        type filter hook forward priority filter; policy accept;
        oifname "{uplink}" ct state new,invalid drop
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat;
        ip saddr {network} oifname != "{uplink}" masquerade
    }}
}}
"""
