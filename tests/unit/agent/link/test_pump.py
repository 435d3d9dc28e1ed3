"""The pump against made-up sockets and channels: whatever the order of events, bytes and ends arrive as they were."""

from __future__ import annotations

from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from tunnel_whisperer.link.flows import FlowGroup
from tunnel_whisperer.link.pump import Flow
from tunnel_whisperer.link.wire import Wire


class Socket:
    """A transport that notes what is done to it."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.written = b""
        self.ended = False
        self.closed = ""
        self.reading = True

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def get_extra_info(self, name: str) -> None:
        return None

    def is_closing(self) -> bool:
        return bool(self.closed)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.closed
        self.reading = True

    def write(self, data: bytes) -> None:
        assert not self.ended
        self.written += data

    def write_eof(self) -> None:
        self.ended = True

    def close(self) -> None:
        self._lose("cleanly")

    def abort(self) -> None:
        self._lose("with a reset")

    def _lose(self, how: str) -> None:
        if not self.closed:
            self.closed = how
            self.flow.lose_socket()


class Channel:
    """An SSH channel that notes what is done to it; `window` is how much the far end takes before it says more."""

    def __init__(self, flow: Flow, window: int) -> None:
        self.flow = flow
        self.window = window
        self.buffer = b""
        self.sent = b""
        self.end_wanted = self.end_sent = False
        self.closing = False
        self.closed = ""
        self.reading = True

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return len(self.buffer)

    def is_closing(self) -> bool:
        return self.closing or self.end_wanted

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def write(self, data: bytes) -> None:
        assert not self.is_closing()
        self.buffer += data
        self.take(0)
        if self.buffer:
            self.flow.channel_full()

    def write_eof(self) -> None:
        if not self.closing:
            self.end_wanted = True
            self.take(0)

    def take(self, more: int) -> None:
        """Let the far end take more."""
        self.window += more
        had = bool(self.buffer)
        self.sent, self.buffer = self.sent + self.buffer[: self.window], self.buffer[self.window :]
        self.window = max(0, self.window - (len(self.sent)))
        if not self.buffer:
            self.end_sent = self.end_sent or self.end_wanted
            if had and not self.closing:
                self.flow.channel_drained()

    def close(self) -> None:
        assert not self.buffer
        assert self.end_sent
        self.closing, self.closed = True, "cleanly"

    def abort(self) -> None:
        if not self.closing:
            self.closing, self.closed = True, "abruptly"


def up(flow: Flow, window: int = 1 << 20) -> tuple[Socket, Channel]:
    socket, channel = Socket(flow), Channel(flow, window)
    flow.socket_made(cast(Any, socket))
    flow.channel_made(cast(Any, channel))
    return socket, channel


def test_what_the_socket_says_before_the_channel_is_up_is_kept() -> None:
    flow = Flow()
    socket, channel = Socket(flow), Channel(flow, 100)
    flow.socket_made(cast(Any, socket))
    assert not socket.reading
    flow.socket_data(b"220 ")  # uvloop delivers it nevertheless
    flow.socket_data(b"welcome")
    flow.socket_end()
    flow.channel_made(cast(Any, channel))
    assert (channel.sent, channel.end_sent) == (b"220 welcome", True)


def test_the_channel_closes_only_after_our_own_end_has_left() -> None:
    flow = Flow()
    socket, channel = up(flow, window=3)
    flow.socket_data(b"hello")
    assert not socket.reading
    flow.socket_end()
    flow.channel_end()
    assert socket.ended
    assert not channel.closing, "two bytes and the end have not left yet"
    channel.take(100)
    assert (channel.sent, channel.end_sent, channel.closed) == (b"hello", True, "cleanly")
    flow.lose_channel(None)
    assert socket.closed == "cleanly"


def test_a_side_that_leaves_while_the_channel_opens_takes_it_along() -> None:
    for leave in (Flow.lose_socket, Flow.cut):
        flow, group = Flow(), FlowGroup()
        flow.join(group)
        socket, channel = Socket(flow), Channel(flow, 10)
        flow.socket_made(cast(Any, socket))
        leave(flow)
        flow.channel_made(cast(Any, channel))
        assert channel.closed == "abruptly"
        flow.lose_channel(None)
        flow.lose_socket()
        assert len(group) == 0


def test_a_lost_link_resets_the_socket_and_a_closed_channel_does_not() -> None:
    for exc, ended, how in (
        (None, True, "cleanly"),
        (None, False, "with a reset"),
        (ConnectionError(), False, "with a reset"),
        (ConnectionError(), True, "cleanly"),
    ):
        flow = Flow()
        socket, _ = up(flow)
        if ended:
            flow.channel_end()
        flow.lose_channel(exc)
        assert socket.closed == how


def test_an_end_that_met_a_full_socket_is_not_taken_for_a_cut() -> None:
    """asyncssh forgets the end when the close comes while reading is paused; the data still comes."""
    flow = Flow()
    socket, channel = up(flow)
    flow.socket_full()
    assert not channel.reading
    channel.closing = True  # the close has come, the last data waits in asyncssh
    flow.socket_drained()
    flow.channel_data(b"the last of it")
    flow.lose_channel(None)
    assert (socket.written, socket.closed) == (b"the last of it", "cleanly")


def test_a_congested_wire_holds_every_writer_back() -> None:
    wire = Wire(cast(Any, None))
    flows = [Flow() for _ in range(3)]
    for flow in flows:
        flow.ride(wire)
    sockets = [up(flow)[0] for flow in flows]
    wire.pause_writing()
    for flow in flows[:2]:
        flow.socket_data(b"x")
    assert [socket.reading for socket in sockets] == [False, False, True]
    wire.resume_writing()
    assert [socket.reading for socket in sockets] == [True, True, True]


def test_groups_count_what_was_carried_after_a_flow_is_gone() -> None:
    flow, group = Flow(), FlowGroup()
    flow.join(group)
    up(flow)
    flow.socket_data(b"abc")
    flow.channel_data(b"de")
    assert (len(group), group.sent, group.received) == (1, 3, 2)
    flow.cut()
    flow.lose_channel(None)
    assert (len(group), group.sent, group.received, group.total) == (0, 3, 2, 1)


EVENTS = st.lists(
    st.sampled_from(("say", "hear", "take", "full", "drained", "congest", "clear", "made")), min_size=1, max_size=60
)


@settings(max_examples=300, deadline=None)
@given(events=EVENTS, window=st.integers(0, 8))
def test_any_order_of_events_carries_every_byte(events: list[str], window: int) -> None:
    flow, wire = Flow(), Wire(cast(Any, None))
    flow.ride(wire)
    socket, channel = Socket(flow), Channel(flow, window)
    flow.socket_made(cast(Any, socket))
    made, said, heard = False, b"", b""
    for number, event in enumerate([*events, "made", "clear", "drained", "take"]):
        piece = bytes([number % 256]) * (number % 5 + 1)
        match event:
            case "made" if not made:
                made = True
                flow.channel_made(cast(Any, channel))
            case "say" if socket.reading or not made:
                said += piece
                flow.socket_data(piece)
            case "hear" if made and channel.reading:
                heard += piece
                flow.channel_data(piece)
            case "take":
                channel.take(1000 if number >= len(events) else 5)
            case "full" if made:
                flow.socket_full()
            case "drained" if made:
                flow.socket_drained()
            case "congest":
                wire.pause_writing()
            case "clear":
                wire.resume_writing()
    channel.window = 1 << 20
    channel.take(0)
    assert (channel.sent, socket.written) == (said, heard)
    assert socket.reading
    assert channel.reading
    flow.socket_end()
    flow.channel_end()
    assert (channel.end_sent, socket.ended, channel.closed) == (True, True, "cleanly")
