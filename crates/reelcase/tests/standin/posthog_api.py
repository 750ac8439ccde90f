"""A PostHog that hands out recordings, written from what is known of its API and of nothing else.

Usage: posthog_api.py MODE [PORT]. Prints its address. MODE is `calm`, `stormy` (limits, failures, replies that break off, ranges
with holes that fill) or `slow`. `/expected` says what an importer must have in the end, `/log` what was asked.
"""

import json
import struct
import sys
import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

MODE = sys.argv[1]
KEY, PROJECT, TOKEN = "phx_a_personal_key", "4711", "phc_of_posthog"
T0 = 1_767_000_000_000  # 2025-12-29


def iso(ms, zone="Z"):
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ms // 1000))
    return f"{seconds}.{ms % 1000:03d}000{zone}"


def snappy(plain):
    """Raw snappy that only quotes: the length of all, then pieces behind theirs."""
    out, rest = bytearray(), len(plain)
    while True:
        low, rest = rest & 0x7F, rest >> 7
        out.append(low | (0x80 if rest else 0))
        if not rest:
            break
    for at in range(0, len(plain), 60):
        piece = plain[at : at + 60]
        out.append((len(piece) - 1) << 2)
        out += piece
    return bytes(out)


class Recording:
    def __init__(self, number, blocks, kind="blob_v2", **more):
        self.id = f"019b{number:04x}-0000-7000-8000-{number:012x}"
        self.kind, self.more = kind, more
        start = T0 - number * 3_600_000
        self.blocks, self.clicks, self.times = [], 0, []
        for block in range(blocks):
            lines = []
            for n in range(5):
                ms = start + block * 10_000 + n * 100
                if block == 0 and n == 0:
                    event = {"type": 4, "data": {"href": "https://shop.test/", "width": 9, "height": 9}, "timestamp": ms}
                elif n == 1:
                    event = {"type": 3, "data": {"source": 2, "type": 2, "id": 1}, "timestamp": ms}
                    self.clicks += 1
                else:
                    event = {"type": 5, "data": {"tag": "note", "payload": {"n": n, "text": "ä\U0001f600" * n}}, "timestamp": ms}
                lines.append(["window-a" if block % 2 else "window-b", event])
            self.blocks.append(lines)
            self.times.append((start + block * 10_000, start + block * 10_000 + 400))
        self.start, self.end = self.times[0][0], self.times[-1][1]

    def plain(self, block):
        return b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in self.blocks[block])

    def person(self, with_properties=True):
        person = {"id": 1, "uuid": "0197-ada", "name": "ada@example.org", "distinct_ids": ["ada", "anon-" + self.id]}
        if with_properties:
            person["properties"] = {"email": "ada@example.org", "plan": "paid"}
        return person

    def row(self):
        doubled = sum(len(self.blocks[block]) for block in self.more.get("doubled", []))
        row = {
            "id": self.id, "distinct_id": "anon-" + self.id, "viewed": False,
            "recording_duration": (self.end - self.start) // 1000, "start_time": iso(self.start), "end_time": iso(self.end),
            "click_count": self.clicks, "keypress_count": 0, "mouse_activity_count": self.clicks,
            "snapshot_source": "web", "snapshot_library": "web", "person": self.person(self.kind == "blob_v2"),
            "event_count": sum(map(len, self.blocks)) + doubled,
        }
        if self.kind == "blob_v2":
            sizes = [len(self.plain(block)) for block in self.listed()]
            row["total_size"] = sum(sizes)
        if doubled:
            row["click_count"] = row["mouse_activity_count"] = self.clicks + len(self.more["doubled"])
        row["event_count"] += self.more.get("miscounted", 0)
        return row

    def listed(self):
        """The blocks as PostHog lists them: one that was delivered twice is there twice."""
        return sorted(list(range(len(self.blocks))) + self.more.get("doubled", []))

    def events(self):
        def event(n):
            properties = {"$session_id": self.id, "$window_id": "window-a", "$current_url": "https://shop.test/", "n": n}
            uuid = f"{self.id[:8]}-1111-7111-8111-{n:012x}"
            return [uuid, "$pageview", iso(self.start + n, "+00:00"), "anon-" + self.id, json.dumps(properties)]

        return [event(n) for n in range(self.more.get("events", 1))]


RECORDINGS = [
    Recording(1, 3),
    Recording(2, 45, events=2300),
    Recording(3, 2, doubled=[1]),
    Recording(4, 4, kind="blob_v2_lts"),
    Recording(5, 3, kind="blob"),
    Recording(6, 2, deleted=True),
    Recording(7, 21, holes=True),
    Recording(8, 2, torn=True),
    Recording(9, 1, miscounted=3),
] + [Recording(10 + n, 2) for n in range(130)]
LOCK, LOG, COUNTS = threading.Lock(), [], {}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, status, body, media_type="application/json", headers=(), cut=False):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self.close_connection = True

    def do_GET(self):
        self.answer(None)

    def do_POST(self):
        self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def answer(self, body):
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        parts = [part for part in url.path.split("/") if part]
        if parts == ["expected"]:
            lines = {r.id: [line for block in r.blocks for line in block] for r in RECORDINGS}
            return self.reply(200, {r.id: {"lines": lines[r.id], "row": r.row(), "events": r.events(), "more": r.more} for r in RECORDINGS})
        if parts == ["log"]:
            return self.reply(200, LOG)
        with LOCK:
            times = COUNTS[self.path] = COUNTS.get(self.path, 0) + 1
            LOG.append(self.path)
            number = len(LOG)
        if self.headers["Authorization"] != f"Bearer {KEY}":
            return self.reply(401, {"type": "authentication_error", "detail": "Invalid personal API key."})
        if MODE == "slow":
            time.sleep(0.02)
        if MODE == "stormy" and times == 1:
            if number % 7 == 0:
                return self.reply(429, {"detail": "Request was throttled."}, headers=[("Retry-After", "0")])
            if number % 11 == 0:
                now = time.time()
                headers = [("Retry-After", formatdate(now, usegmt=True)), ("Date", formatdate(now, usegmt=True))]
                return self.reply(429, {"detail": "Request was throttled."}, headers=headers)
            if number % 13 == 0:
                return self.reply(503, b"<html>busy</html>", "text/html")
        cut = MODE == "stormy" and times == 1 and number % 5 == 0
        if parts[:2] != ["api", "projects"] or parts[2] != PROJECT:
            return self.reply(404, {"detail": "Not found."})
        rest = parts[3:]
        if rest == []:
            return self.reply(200, {"id": int(PROJECT), "api_token": TOKEN, "name": "Shop"}, cut=cut)
        if rest == ["session_recordings"]:
            return self.list(query, cut)
        if rest == ["persons"]:
            found = [r.person() for r in RECORDINGS if "anon-" + r.id == query["distinct_id"]]
            return self.reply(200, {"results": found, "next": None}, cut=cut)
        if rest == ["query"]:
            return self.query(body["query"], cut)
        recording = next((r for r in RECORDINGS if r.id == rest[1]), None)
        if recording is None:
            return self.reply(404, {"detail": "Not found."})
        if recording.more.get("deleted"):
            return self.reply(410, {"error": "recording_deleted", "deleted_at": "2026-01-01", "deleted_by": "ada"})
        if len(rest) == 2:
            return self.reply(200, recording.row(), cut=cut)
        return self.snapshots(recording, query, cut, times)

    def list(self, query, cut):
        low, high = query["date_from"], query["date_to"]
        rows = sorted((r for r in RECORDINGS if low <= iso(r.start) <= high), key=lambda r: -r.start)
        after = int(query.get("after", query.get("offset", "0")))
        page = rows[after : after + int(query["limit"])]
        answer = {"results": [r.row() for r in page], "has_next": after + len(page) < len(rows), "version": 4}
        if answer["has_next"] and MODE != "calm":
            answer["next_cursor"] = str(after + len(page))
        self.reply(200, answer, cut=cut)

    def query(self, query, cut):
        assert query["kind"] == "EventsQuery" and query["properties"][0]["key"] == "$session_id", query
        recording = next(r for r in RECORDINGS if r.id in query["properties"][0]["value"])
        events = recording.events()
        page = events[query["offset"] :][: query["limit"]]
        more = query["offset"] + len(page) < len(events)
        self.reply(200, {"columns": query["select"], "types": [], "results": page, "hasMore": more}, cut=cut)

    def snapshots(self, recording, query, cut, times):
        listed = recording.listed()
        if "source" not in query:
            if recording.kind == "blob_v2":
                sources = [{"source": "blob_v2", "start_timestamp": iso(recording.times[b][0]),
                            "end_timestamp": iso(recording.times[b][1]), "blob_key": str(n)} for n, b in enumerate(listed)]
            elif recording.kind == "blob_v2_lts":
                sources = [{"source": "blob_v2_lts", "blob_key": "lts/" + recording.id, "start_timestamp": None}]
            else:
                sources = [{"source": "blob", "blob_key": str(n)} for n in listed]
                sources.append({"source": "realtime", "blob_key": None})
            return self.reply(200, {"sources": sources}, cut=cut)
        if query["source"] == "blob":
            block = recording.blocks[int(query["blob_key"])]
            text = "\n".join(json.dumps({"window_id": window, "data": [event]}) for window, event in block)
            return self.reply(200, text.encode(), "application/jsonl", cut=cut)
        if query["source"] == "blob_v2_lts":
            text = b"".join(map(recording.plain, range(len(recording.blocks))))
            return self.reply(200, text.rstrip(b"\n"), "application/jsonl", cut=cut)
        first, last = int(query["start_blob_key"]), int(query["end_blob_key"])
        if last - first > 20 or last >= len(listed):
            return self.reply(400 if last < len(listed) else 404, {"detail": "Bad range."})
        blocks = [snappy(recording.plain(block)) for block in listed[first : last + 1]]
        if recording.more.get("holes") and times < 3:
            del blocks[len(blocks) // 2]
        if recording.more.get("torn"):
            del blocks[-1]
        assert query["decompress"] == "false"
        body = b"".join(struct.pack(">I", len(block)) + block for block in blocks)
        self.reply(200, body, "application/octet-stream", cut=cut)


server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2]) if len(sys.argv) > 2 else 0), Handler)
server.handle_error = lambda *_: None  # Whoever is killed leaves requests behind.
print(f"http://127.0.0.1:{server.server_port}", flush=True)
threading.Thread(target=lambda: (sys.stdin.read(), server.shutdown()), daemon=True).start()
server.serve_forever()
