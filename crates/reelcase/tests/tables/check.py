"""Exports real recordings as tables and lines, and reads them with DuckDB, pyarrow, pandas and Spark.

Usage: check.py REELCASE CORPUS NOTEBOOK, with a Python that has what the Makefile installs. Every figure that is expected
comes from the recordings as the API hands them out, never from the tables. The notebook is run on the same tables.
"""

import base64
import collections
import glob
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.request

import duckdb
import nbclient
import nbformat
import pandas
import pyarrow.dataset
import pyarrow.parquet
import pyspark.sql
import zstandard

reelcase, corpus, notebook = sys.argv[1:]
work = tempfile.TemporaryDirectory()
data, tables, files = (os.path.join(work.name, name) for name in ("data", "tables", "files"))


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
for to, form in ((tables, "parquet"), (files, "jsonl-gzip")):
    subprocess.run([reelcase, "export", "--server", url, "--token", token, "--to", to, "--format", form], check=True)
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
# Lines, as they are.
lines_of = os.path.join(files, "*/*/*.jsonl.gz")
assert one(f"select count(*), count(distinct json->>0) > 1 from read_json_objects('{lines_of}', format = 'newline_delimited')") == (
    snapshot_count,
    True,
)
largest = max(rows, key=lambda row: row["event_count"])
path = next(path for path in glob.glob(lines_of) if os.path.basename(path) == largest["id"] + ".jsonl.gz")
frame = pandas.read_json(path, lines=True)
assert list(frame.columns) == [0, 1] and len(frame) == largest["event_count"], frame

# Spark, which finds the partitions by itself.
os.environ.update(SPARK_LOCAL_IP="127.0.0.1", PYSPARK_PYTHON=sys.executable)
builder = pyspark.sql.SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
spark = builder.config("spark.sql.session.timeZone", "UTC").config("spark.sql.shuffle.partitions", "2").getOrCreate()
spark.sparkContext.setLogLevel("ERROR")
recordings, events, snapshots = (
    spark.read.parquet(os.path.join(tables, name)) for name in ("recordings", "events", "snapshots")
)
assert (recordings.count(), snapshots.count()) == (len(rows), snapshot_count)
assert dict(snapshots.dtypes)["time"] == "timestamp" and dict(snapshots.dtypes)["date"] == "date", snapshots.dtypes
assert events.where("kind = 'request'").count() == requests
counted = events.where("kind = 'interaction'").groupBy("recording").count().collect()
assert {row["recording"]: row["count"] for row in counted} == dict(interactions)
joined = recordings.join(snapshots, ["project", "recording"]).groupBy("recording", "event_count").count()
assert joined.where("event_count <> count").count() == 0
text = spark.read.text(os.path.join(files, "*/*/*.jsonl.gz"))
assert text.count() == snapshot_count
full = text.selectExpr("get_json_object(value, '$[1].type') as type").where("type = '2'").count()
assert full == one("select count(*) from snapshots where type = 2")[0] > 0
spark.stop()

# The example.
os.environ["REELCASE_TABLES"] = tables
ran = nbformat.read(notebook, as_version=4)
nbclient.NotebookClient(ran, timeout=120, kernel_name="python3").execute()
shown = [cell for cell in ran.cells if cell.cell_type == "code" and cell.outputs]
assert len(shown) >= 5, "the notebook shows little"
print(f"{len(rows)} recordings, {snapshot_count} snapshots, {len(frame)} events: as they were recorded")
