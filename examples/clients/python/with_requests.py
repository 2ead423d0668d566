"""Follows a stream with requests and sseclient-py. The loop, the last id and the pauses are here."""

import json
import sys
import time

import requests
from sseclient import SSEClient
from urllib3.exceptions import HTTPError

url = sys.argv[1]
last_id, pause = "", 1.0
while True:
    headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last_id} if last_id else {})}
    try:
        # The server sends something every 30 s at least.
        with requests.get(url, headers=headers, stream=True, timeout=(10, 75)) as response:
            status = response.status_code
            if status == 204 or 400 <= status < 500 and status != 429:
                sys.exit(f"the server ended the stream with {status}")
            # The text of a response would wait for 512 bytes: its chunks come at once.
            for event in SSEClient(response.raw.stream(65536)).events():
                last_id = event.id or last_id
                pause = int(event.retry) / 1000 if event.retry is not None else pause
                if event.event == "note":
                    print(event.data, flush=True)
                elif event.event == "done":
                    sys.exit()
                elif event.event == "sse.closed" and json.loads(event.data)["reason"] == "superseded":
                    sys.exit("another client has this id now")
    except (requests.RequestException, HTTPError):
        pass
    time.sleep(pause)
