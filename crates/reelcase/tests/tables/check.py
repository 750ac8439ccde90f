"""Exports real recordings as tables and reads them with DuckDB, pyarrow and pandas.

Usage: check.py REELCASE CORPUS, with a Python that has duckdb, pyarrow, pandas and zstandard. Every figure that is expected comes from
the recordings as the API and `export --format jsonl` hand them out, never from the tables.
"""

import base64
import collections
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.request

import duckdb
import pyarrow.dataset
import pyarrow.parquet
import zstandard

reelcase, corpus = sys.argv[1:]
work = tempfile.TemporaryDirectory()
data, tables = os.path.join(work.name, "data"), os.path.join(work.name, "tables")


def serve():
    server = subprocess.Popen([reelcase, "serve", "--listen", "127.0.0.1:0", "--data", data], stdout=subprocess.PIPE, text=True, env={**os.environ, "REELCASE_LOG": "error"})
    url, token = re.search(r"(http\S+)/\?token=(\S+)", server.stdout.readline()).groups()
    return server, url, token


def send_captures(url):
    with open(os.path.join(corpus, "posthog-js/manifest.json")) as file:
        captures = json.load(file)["captures"]
    for capture in captures[::2]:
        path = os.path.join(corpus, "posthog-js", capture["file"])
        with open(path, "rb") as file:
            text = zstandard.ZstdDecompressor().stream_reader(file).read().decode()
        for request in map(json.loads, text.splitlines()):
            if request["method"] != "POST":
                continue
            path = request["path"].removeprefix(capture["path_prefix"])
            headers = {k: v for k, v in request["headers"].items() if k in ("content-type", "content-encoding", "user-agent")}
            body = base64.b64decode(request["body_base64"])
            urllib.request.urlopen(urllib.request.Request(f"{url}{path}?{request['query']}", body, headers)).read()


def get(url, token, path):
    request = urllib.request.Request(url + path, headers={"Authorization": f"Bearer {token}"})
    return urllib.request.urlopen(request).read()


server, url, token = serve()
send_captures(url)
server.terminate()  # Whatever waits is sealed, and listed from then on.
server.wait()
server, url, token = serve()
rows = []
next_page = ""
while next_page is not None:
    page = json.loads(get(url, token, f"/api/recordings?limit=200{next_page}"))
    rows += page["recordings"]
    next_page = f"&cursor={page['next']}" if page["next"] else None
rows = [json.loads(get(url, token, f"/api/recordings/{row['id']}?project={row['project']}")) for row in rows]
lines = {row["id"]: get(url, token, f"/api/recordings/{row['id']}/export?format=jsonl").splitlines() for row in rows}
export = [reelcase, "export", "--server", url, "--token", token, "--to", tables, "--format", "parquet"]
subprocess.run(export, check=True)
server.terminate()
server.wait()
assert len(rows) > 20

# What the lines hold, counted without any table.
snapshot_count, requests, interactions, errors = 0, 0, collections.Counter(), 0
for id, of_one in lines.items():
    for window, event in map(json.loads, of_one):
        snapshot_count += 1
        data_of = event.get("data") or {}
        if event["type"] == 3 and data_of.get("source") == 2:
            interactions[id] += 1
        if event["type"] == 6 and data_of["plugin"] == "rrweb/network@1":
            requests += len(data_of["payload"]["requests"])
        if event["type"] == 6 and data_of["plugin"] == "rrweb/console@1":
            errors += data_of["payload"]["level"] in ("error", "assert")

db = duckdb.connect()
for name in ("recordings", "events", "snapshots"):
    db.execute(f"create view {name} as select * from read_parquet('{tables}/{name}/**/*.parquet', hive_partitioning = true)")


def one(sql):
    return db.execute(sql).fetchone()


assert one("select count(*), count(distinct recording) from recordings") == (len(rows), len(rows))
assert one("select count(*) from snapshots") == (snapshot_count,)
assert one("select count(*) from events where kind = 'request'") == (requests,)
assert one("select count(*) from events where name = 'console' and kind = 'error'") == (errors,)
of_tables = dict(db.execute("select recording, count(*) from events where kind = 'interaction' group by all").fetchall())
assert of_tables == dict(interactions)
assert one("select count(*) from events where kind in ('event', 'error') and name <> 'console'") == (
    sum(row["analytics_event_count"] for row in rows),
)
assert one('select count(*) from recordings where "start" >= date and "start" < date + interval 1 day') == (len(rows),)
assert one("select typeof(time) from snapshots limit 1") == ("TIMESTAMP WITH TIME ZONE",)
for row in rows:
    found = one(f"select event_count, click_count, plain_bytes, start_url from recordings where recording = '{row['id']}'")
    assert found == (row["event_count"], row["click_count"], row["plain_bytes"], row["start_url"]), (row["id"], found)

# Byte for byte, and in the order in which they were.
for id, of_one in lines.items():
    found = db.execute(f"select \"window\", event from snapshots where recording = '{id}' order by index").fetchall()
    assert [f"[{json.dumps(window, ensure_ascii=False)},{event}]".encode() for window, event in found] == of_one, id

dataset = pyarrow.dataset.dataset(os.path.join(tables, "snapshots"), partitioning="hive")
assert dataset.count_rows() == snapshot_count
assert str(dataset.schema.field("time").type) == "timestamp[ms, tz=UTC]", dataset.schema
part = next(iter(dataset.files))
metadata = pyarrow.parquet.read_metadata(part).metadata
assert metadata[b"reelcase.table"] == b"snapshots" and metadata[b"reelcase.tables_version"] == b"1", metadata
frame = pyarrow.dataset.dataset(os.path.join(tables, "events"), partitioning="hive").to_table().to_pandas()
assert frame[frame.kind == "request"].shape[0] == requests
assert frame.groupby("recording").size().sum() == one("select count(*) from events")[0]
assert frame.time.dt.tz is not None and frame[frame.kind == "interaction"].x.notna().any()
print(f"{len(rows)} recordings, {snapshot_count} snapshots, {len(frame)} events: as they were recorded")
