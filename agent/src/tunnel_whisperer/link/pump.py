"""The byte pump: one socket on one side, one SSH channel on the other, nothing lost between them.

Everything is a callback; there is no task and no stream reader for a flow. Either side may come first, go first, or
leave while the other is still on its way. What a socket says before the channel is up is kept (a server's banner, a
client's first request): `pause_reading` in `connection_made` does not hold it back under uvloop.

The ends of a flow: the end of what one side sends is passed on to the other, which may go on sending. A flow that is
cut (its link lost, its peer reset) ends with a reset, never with a clean end that would make half of an answer look
whole.
"""

import asyncio
import contextlib
import socket
import struct
from typing import Any, cast

import asyncssh

from tunnel_whisperer.link.flows import FlowGroup
from tunnel_whisperer.link.wire import Wire

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_CHANNEL_HIGH = 64 * 1024
_SOCKET_HIGH = 256 * 1024

# Why a socket is not being read.
_NO_CHANNEL = 1
_CHANNEL_FULL = 2
_WIRE_FULL = 4


class Flow:
    """One forwarded connection. `socket_side` and `channel_side` are what asyncio and asyncssh talk to."""

    __slots__ = (
        "_blocked", "_channel", "_channel_ended", "_channel_lost", "_channel_paused", "_closed_unheard", "_early",
        "_groups", "_socket_ended", "_socket_lost", "_transport", "_wire", "received", "sent",
    )  # fmt: skip

    def __init__(self) -> None:
        """Begin with neither side."""
        self._transport: asyncio.Transport | None = None
        self._channel: asyncssh.SSHTCPChannel[bytes] | None = None
        self._wire: Wire | None = None
        self._groups: list[FlowGroup] = []
        self._early: list[bytes] = []
        self._blocked = _NO_CHANNEL
        self._channel_paused = False
        self._closed_unheard = False
        self._socket_ended = False
        self._channel_ended = False
        self._socket_lost = False
        self._channel_lost = False
        self.sent = 0
        self.received = 0

    @property
    def socket_side(self) -> asyncio.Protocol:
        """The protocol for the socket."""
        return _SocketSide(self)

    @property
    def channel_side(self) -> "asyncssh.SSHTCPSession[bytes]":
        """The session for the channel."""
        return _ChannelSide(self)

    @property
    def socket_lost(self) -> bool:
        """Whether the socket has left, so that a channel for it would be for nobody."""
        return self._socket_lost

    @property
    def channel_lost(self) -> bool:
        """Whether the channel is gone, or will never be."""
        return self._channel_lost

    def join(self, group: FlowGroup) -> None:
        """Be in a group until done."""
        if not (self._socket_lost and self._channel_lost):
            self._groups.append(group)
            group.join(self)

    def leave(self, group: FlowGroup) -> None:
        """Be in a group no longer."""
        if group in self._groups:
            self._groups.remove(group)
            group.leave(self)

    def ride(self, wire: Wire) -> None:
        """Say which wire the channel's bytes will go over."""
        self._wire = wire

    def cut(self) -> None:
        """End the flow now, whatever state it is in; its socket sees a reset, a channel still opening is dropped."""
        if self._channel is not None:
            self._channel.abort()
        else:
            self._channel_lost = True
            self._early.clear()
        self._reset_socket()
        self._settle()

    # -- said by the socket --

    def socket_made(self, transport: asyncio.Transport) -> None:
        """Take the socket."""
        self._transport = transport
        transport.set_write_buffer_limits(high=_SOCKET_HIGH)
        if self._channel_lost:
            self._reset_socket()
        elif self._blocked:
            transport.pause_reading()

    def socket_data(self, data: bytes) -> None:
        """Send to the channel, or keep it until there is one."""
        if self._channel is not None:
            self._send(self._channel, data)
        elif not self._channel_lost:
            self._early.append(data)
            self._pause_socket(_NO_CHANNEL)

    def socket_end(self) -> None:
        """Pass on that no more will come from the socket."""
        self._socket_ended = True
        if self._channel is not None:
            self._channel.write_eof()
            self._finish()

    def lose_socket(self) -> None:
        """Let the channel go as well: the socket is gone."""
        self._socket_lost = True
        self._transport = None
        if self._channel is not None:
            self._channel.abort()
        self._settle()

    def socket_full(self) -> None:
        """Stop taking from the channel."""
        if self._channel is not None:
            self._channel_paused = True
            self._channel.pause_reading()

    def socket_drained(self) -> None:
        """Take from the channel again."""
        if self._channel is not None and self._channel_paused:
            self._channel_paused = False
            self._closed_unheard = self._channel.is_closing()
            self._channel.resume_reading()

    # -- said by the channel --

    def channel_made(self, channel: "asyncssh.SSHTCPChannel[bytes]") -> None:
        """Take the channel, and send what had to wait for it."""
        if self._channel_lost or self._socket_lost:
            # One side left while the channel was opening: nobody else would ever close it.
            channel.abort()
            self._channel_lost = True
            self._settle()
            return
        self._channel = channel
        channel.set_write_buffer_limits(high=_CHANNEL_HIGH)
        early, self._early = self._early, []
        for data in early:
            self._send(channel, data)
        if self._socket_ended:
            channel.write_eof()
        self._resume_socket(_NO_CHANNEL)

    def channel_data(self, data: bytes) -> None:
        """Send to the socket."""
        self.received += len(data)
        transport = self._transport
        if transport is not None and not transport.is_closing():
            transport.write(data)

    def channel_end(self) -> None:
        """Pass on that no more will come from the channel."""
        self._channel_ended = True
        if self._transport is not None and not self._transport.is_closing():
            with contextlib.suppress(OSError):  # the peer has reset it, and we are about to hear of that
                self._transport.write_eof()
        self._finish()

    def lose_channel(self, exc: Exception | None) -> None:
        """Close the socket: cleanly when all has come that was to come, else with a reset."""
        if self._channel is None:
            return
        # asyncssh does not tell of an end that was followed by a close while reading was paused.
        unheard = self._channel_paused or self._closed_unheard
        clean = self._channel_ended or (exc is None and unheard)
        self._channel = None
        self._channel_lost = True
        if clean and self._transport is not None:
            self._transport.close()
        else:
            self._reset_socket()
        self._settle()

    def channel_full(self) -> None:
        """Stop reading the socket until the far end takes more."""
        self._pause_socket(_CHANNEL_FULL)

    def channel_drained(self) -> None:
        """Read the socket again."""
        self._resume_socket(_CHANNEL_FULL)
        self._finish()

    # -- said by the wire --

    def wire_drained(self) -> None:
        """Read the socket again."""
        self._resume_socket(_WIRE_FULL)

    # -- what follows --

    def _send(self, channel: "asyncssh.SSHTCPChannel[bytes]", data: bytes) -> None:
        if channel.is_closing():
            return  # the far end has gone; that we shall hear it is certain
        self.sent += len(data)
        channel.write(data)
        wire = self._wire
        if wire is not None and wire.congested and not self._blocked & _WIRE_FULL:
            self._pause_socket(_WIRE_FULL)
            wire.wait(self)

    def _finish(self) -> None:
        """Close the channel when both sides have ended; not before our own end has left, or it would never be told."""
        channel = self._channel
        if channel is not None and self._socket_ended and self._channel_ended and not channel.get_write_buffer_size():
            channel.close()

    def _settle(self) -> None:
        """Leave all groups when both sides are gone."""
        if self._socket_lost and self._channel_lost:
            groups, self._groups = self._groups, []
            for group in groups:
                group.leave(self)

    def _reset_socket(self) -> None:
        transport = self._transport
        if transport is None:
            return
        raw = transport.get_extra_info("socket")
        if raw is not None and raw.family != socket.AF_UNIX:
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        transport.abort()

    def _pause_socket(self, why: int) -> None:
        self._blocked |= why
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def _resume_socket(self, why: int) -> None:
        self._blocked &= ~why
        if self._blocked or self._socket_ended:
            return
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()


class _SocketSide(asyncio.Protocol):
    """Passes what asyncio says on to the flow."""

    __slots__ = ("_flow",)

    def __init__(self, flow: Flow) -> None:
        self._flow = flow

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._flow.socket_made(cast(asyncio.Transport, transport))

    def data_received(self, data: bytes) -> None:
        self._flow.socket_data(data)

    def eof_received(self) -> bool:
        self._flow.socket_end()
        return True  # the other direction goes on

    def connection_lost(self, exc: Exception | None) -> None:
        self._flow.lose_socket()

    def pause_writing(self) -> None:
        self._flow.socket_full()

    def resume_writing(self) -> None:
        self._flow.socket_drained()


class _ChannelSide(asyncssh.SSHTCPSession[bytes]):
    """Passes what asyncssh says on to the flow."""

    __slots__ = ("_flow",)

    def __init__(self, flow: Flow) -> None:
        self._flow = flow

    def connection_made(self, chan: "asyncssh.SSHTCPChannel[bytes]") -> None:
        self._flow.channel_made(chan)

    def data_received(self, data: bytes, datatype: Any) -> None:
        self._flow.channel_data(data)

    def eof_received(self) -> bool:
        self._flow.channel_end()
        return True  # the other direction goes on

    def connection_lost(self, exc: Exception | None) -> None:
        self._flow.lose_channel(exc)

    def pause_writing(self) -> None:
        self._flow.channel_full()

    def resume_writing(self) -> None:
        self._flow.channel_drained()
