"""Follows a stream with httpx-sse. The library reads one answer; the loop, the last id and the pauses are here."""

import json
import sys
import time

import httpx
from httpx_sse import SSEError, connect_sse

url = sys.argv[1]
last_id, pause = "", 1.0
# The server sends something every 30 s at least.
with httpx.Client(timeout=httpx.Timeout(10, read=75)) as client:
    while True:
        headers = {"Last-Event-ID": last_id} if last_id else {}
        try:
            with connect_sse(client, "GET", url, headers=headers) as source:
                status = source.response.status_code
                if status == 204 or 400 <= status < 500 and status != 429:
                    sys.exit(f"the server ended the stream with {status}")
                for event in source.iter_sse():
                    last_id = event.id or last_id
                    pause = event.retry / 1000 if event.retry is not None else pause
                    if event.event == "note":
                        print(event.data, flush=True)
                    elif event.event == "done":
                        sys.exit()
                    elif event.event == "sse.closed" and json.loads(event.data)["reason"] == "superseded":
                        sys.exit("another client has this id now")
        except (httpx.TransportError, SSEError):
            pass
        time.sleep(pause)
