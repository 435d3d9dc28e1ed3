"""Programs at the client that use the bridges, with the standard library only. Each prints what it found as JSON."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import sys
import time

BLOCK = 1 << 20
HOST = "127.0.0.1"


def block(number: int) -> bytes:
    """Return the block that the far end sends at this place."""
    body = random.Random(7).randbytes(4096)
    return (number.to_bytes(8, "big") + body)[:4096] * (BLOCK // 4096)


async def greetings(port: int, count: int, at_once: int) -> dict[str, object]:
    """Connect many times, say nothing, and hear the greeting each time."""
    gate = asyncio.Semaphore(at_once)
    missing: list[str] = []

    async def hear() -> None:
        async with gate:
            try:
                async with asyncio.timeout(30):
                    reader, writer = await asyncio.open_connection(HOST, port)
                    heard = await reader.readline()
                    writer.close()
            except (OSError, TimeoutError) as error:
                heard = repr(error).encode()
            if not heard.startswith(b"220 "):
                missing.append(heard.decode("utf-8", "replace"))

    began = time.monotonic()
    await asyncio.gather(*(hear() for _ in range(count)))
    return {"missing": missing, "seconds": round(time.monotonic() - began, 2)}


async def half_close(port: int, size: int) -> dict[str, object]:
    """Send, shut down writing, and only then read the whole answer."""
    content = random.Random(11).randbytes(size)
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(content)
    writer.write_eof()
    async with asyncio.timeout(60):
        answer = await reader.read()
    writer.close()
    return {"whole": answer == content[::-1] + hashlib.sha256(content).digest(), "size": len(answer)}


async def download(port: int, blocks: int) -> dict[str, object]:
    """Take bytes and compare every one."""
    reader, writer = await asyncio.open_connection(HOST, port, limit=4 * BLOCK)
    writer.write(f"GET {blocks}\n".encode())
    began = time.monotonic()
    wrong = [number for number in range(blocks) if await reader.readexactly(BLOCK) != block(number)]
    rest = await reader.read()
    writer.close()
    return {"wrong": wrong, "rest": len(rest), "rate": round(blocks / (time.monotonic() - began), 1)}


async def upload(port: int, blocks: int) -> dict[str, object]:
    """Send bytes and let the far end say which they were."""
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(f"PUT {blocks}\n".encode())
    total, began = hashlib.sha256(), time.monotonic()
    for number in range(blocks):
        piece = block(number)
        total.update(piece)
        writer.write(piece)
        await writer.drain()
    answer = (await reader.readline()).decode().strip()
    writer.close()
    return {"same": answer == total.hexdigest(), "rate": round(blocks / (time.monotonic() - began), 1)}


async def at_once(port: int, count: int) -> dict[str, object]:
    """Hold many connections at the same time and use each of them."""
    pairs = await asyncio.gather(*(asyncio.open_connection(HOST, port) for _ in range(count)))

    async def use(number: int) -> bool:
        reader, writer = pairs[number]
        said = f"line {number}\n".encode()
        writer.write(said)
        async with asyncio.timeout(60):
            return await reader.readline() == said

    good = await asyncio.gather(*(use(number) for number in range(count)))
    again = await asyncio.gather(*(use(number) for number in reversed(range(count))))
    for _reader, writer in pairs:
        writer.close()
    return {"good": sum(good) + sum(again), "of": 2 * count}


async def hold(port: int) -> dict[str, object]:
    """Say a line now and then until cut off; tell each success, and how it ended."""
    reader, writer = await asyncio.open_connection(HOST, port)
    lines = 0
    while True:
        try:
            writer.write(b"still here\n")
            async with asyncio.timeout(20):
                heard = await reader.readline()
        except (OSError, TimeoutError) as error:
            return {"lines": lines, "end": repr(error)}
        if not heard:
            return {"lines": lines, "end": "closed"}
        lines += 1
        print(json.dumps({"lines": lines}), flush=True)
        await asyncio.sleep(0.1)


async def refused(port: int) -> dict[str, object]:
    """Connect to a local port that is no bridge."""
    try:
        await asyncio.open_connection(HOST, port)
    except ConnectionRefusedError:
        return {"refused": True}
    return {"refused": False}


TASKS = {
    "greetings": greetings,
    "half_close": half_close,
    "download": download,
    "upload": upload,
    "at_once": at_once,
    "hold": hold,
    "refused": refused,
}

if __name__ == "__main__":
    print(json.dumps(asyncio.run(TASKS[sys.argv[1]](*map(int, sys.argv[2:])))), flush=True)
