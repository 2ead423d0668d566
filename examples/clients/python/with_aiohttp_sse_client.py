"""Follows a stream with aiohttp-sse-client, which comes back by itself, but not from a refused connection."""

import asyncio
import json
import sys
from datetime import timedelta

from aiohttp import ClientError, ClientTimeout
from aiohttp_sse_client.client import EventSource


async def follow(url: str) -> None:
    last_id = ""
    while True:
        headers = {"Last-Event-ID": last_id} if last_id else {}
        # Without it the session ends every stream after five minutes. The server sends something every 30 s at least.
        timeout = ClientTimeout(total=None, sock_read=75)
        pause = timedelta(milliseconds=100)  # It doubles each time, also after a connection that was good.
        try:
            async with EventSource(url, headers=headers, timeout=timeout, reconnection_time=pause) as source:
                async for event in source:
                    last_id = event.last_event_id or last_id
                    if event.type == "note":
                        print(event.data, flush=True)
                    elif event.type == "done":
                        return
                    elif event.type == "sse.closed" and json.loads(event.data)["reason"] == "superseded":
                        return
        except (ClientError, ConnectionError, asyncio.TimeoutError):
            await asyncio.sleep(1)


asyncio.run(follow(sys.argv[1]))
