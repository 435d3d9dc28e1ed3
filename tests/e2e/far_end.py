"""Applications at the server, to put the bridges to the test; run there as a program, with the standard library only.

7001 greets first and says nothing else. 7002 reads to the end, then answers with all of it. 7003 sends or takes a
number of blocks. 7004 gives back line after line.
"""

from __future__ import annotations

import asyncio
import hashlib
import random

GREETING, WHOLE, BULK, ECHO = 7001, 7002, 7003, 7004
BLOCK = 1 << 20


def block(number: int) -> bytes:
    """Return a block of bytes that tells its place, so that lost and swapped blocks show."""
    body = random.Random(7).randbytes(4096)
    return (number.to_bytes(8, "big") + body)[:4096] * (BLOCK // 4096)


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Speak first, as SSH, SMTP and MySQL do; the marker is looked for where nobody may read it."""
    writer.write(b"220 GREETING-IN-THE-CLEAR ready\r\n")
    await writer.drain()
    await reader.read()
    writer.close()


async def whole(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer only once the other side has shut down writing."""
    content = await reader.read()
    writer.write(content[::-1] + hashlib.sha256(content).digest())
    await writer.drain()
    writer.close()


async def bulk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """`GET n` sends n blocks, `PUT n` takes n blocks and answers with their hash."""
    verb, count = (await reader.readline()).split()
    if verb == b"GET":
        for number in range(int(count)):
            writer.write(block(number))
            await writer.drain()
    else:
        total = hashlib.sha256()
        for _ in range(int(count)):
            total.update(await reader.readexactly(BLOCK))
        writer.write(total.hexdigest().encode() + b"\n")
        await writer.drain()
    writer.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Give back what comes, as it comes."""
    while piece := await reader.read(65536):
        writer.write(piece)
        await writer.drain()
    writer.close()


async def main() -> None:
    """Serve until stopped."""
    async with asyncio.TaskGroup() as tasks:
        for port, serve in ((GREETING, greet), (WHOLE, whole), (BULK, bulk), (ECHO, echo)):
            server = await asyncio.start_server(serve, "127.0.0.1", port, backlog=1024)
            tasks.create_task(server.serve_forever(), name=f"port {port}")


if __name__ == "__main__":
    asyncio.run(main())
