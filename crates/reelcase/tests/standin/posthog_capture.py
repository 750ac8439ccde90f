#!/usr/bin/env python3
"""A stand-in for PostHog's capture of recordings: takes uploads by PostHog's own rules, and says no now and then.

GET / tells what it took. It knows nothing of Reelcase.
"""

import gzip
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WEEK_MS = 7 * 86_400_000
SESSION = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")

state = {"requests": 0, "uploads": [], "refused": [], "dropped": 0}
manner = sys.argv[1] if len(sys.argv) > 1 else "kind"


def understand(body):
    """What PostHog makes of an upload: who, which session and window, which events; or why it takes none of it."""
    assert body[:2] == b"\x1f\x8b", "not gzip"
    assert len(body) <= 25 << 20, "too large"
    items = json.loads(gzip.decompress(body))
    first = items[0]
    properties = first["properties"]
    session = properties["$session_id"]
    assert first["event"] == "$snapshot" and properties["distinct_id"]
    assert 1 <= len(session) <= 70 and set(session) <= SESSION, "session id"
    assert properties["token"].startswith("phc_")
    # All is taken from the first event of a request, so others may not differ.
    assert len({(i["properties"]["$session_id"], i["properties"]["$window_id"]) for i in items}) == 1
    events = [event for item in items for event in item["properties"]["$snapshot_data"]]
    assert all(event["timestamp"] > 0 for event in events)
    now = time.time() * 1000
    if any(abs(event["timestamp"] - now) >= WEEK_MS for event in (events[0], events[-1])):
        return None
    return {
        "uuid": first["uuid"],
        "session": session,
        "window": properties["$window_id"],
        "distinct_id": properties["distinct_id"],
        "source": properties["$snapshot_source"],
        "bytes": len(body),
        # Texts of pages are for nobody to compare here.
        "events": [e if e["type"] == 5 else {"timestamp": e["timestamp"]} for e in events],
    }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, status, body, headers=()):
        body = json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.reply(200, state)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        state["requests"] += 1
        if manner == "quota":
            return self.reply(200, {"status": "Ok", "quota_limited": ["recordings"]})
        if manner == "moody" and state["requests"] % 4 == 1:
            return self.reply(429, {}, [("Retry-After", "1")])
        if manner == "moody" and state["requests"] % 4 == 3:
            return self.reply(503, {})
        try:
            taken = understand(body)
        except Exception as error:
            state["refused"].append(repr(error))
            return self.reply(400, {"detail": repr(error)})
        if taken is None:
            state["dropped"] += 1
        else:
            state["uploads"].append(taken)
        self.reply(200, {"status": "Ok"})


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.handle_error = lambda *_: None
print(f"http://127.0.0.1:{server.server_port}", flush=True)
threading.Thread(target=lambda: (sys.stdin.read(), server.shutdown()), daemon=True).start()
server.serve_forever()
