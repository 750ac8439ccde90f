"""What people write in Python to move recordings, for `benches/src/lines/moving.rs` to measure.

Usage: mover.py WHAT FROM TO, where FROM is a file of lines `["window",{event}]`, or one of JSON for `rewrite`.
"""

import sys

what, source, target = sys.argv[1:]


def lines():
    with open(source, "rb") as file:
        yield from file


if what == "lines":
    import orjson

    with open(target, "wb") as out:
        for line in lines():
            out.write(orjson.dumps(orjson.loads(line)) + b"\n")
elif what == "rewrite":
    import orjson

    with open(source, "rb") as file:
        value = orjson.loads(file.read())
    with open(target, "wb") as out:
        out.write(orjson.dumps(value))
elif what == "duckdb":
    import duckdb

    # The columns of the table `snapshots`.
    duckdb.sql("SET threads = 2")
    duckdb.sql(
        f"""COPY (
            SELECT line->>0 AS "window", epoch_ms(CAST(CAST(line->1->>'timestamp' AS DOUBLE) AS BIGINT)) AS time,
                   CAST(line->1->>'type' AS BIGINT) AS type, line->1 AS event
            FROM read_ndjson_objects('{source}', maximum_object_size = 268435456) AS lines(line)
        ) TO '{target}' (FORMAT parquet, COMPRESSION zstd)"""
    )
elif what == "pyarrow":
    import orjson
    import pyarrow
    import pyarrow.parquet

    schema = pyarrow.schema(
        [("window", "string"), ("time", pyarrow.timestamp("ms", "UTC")), ("type", "int64"), ("event", "string")]
    )
    with pyarrow.parquet.ParquetWriter(target, schema, compression="zstd") as writer:
        rows, held = [], 0

        def write():
            columns = list(zip(*rows)) or [[], [], [], []]
            writer.write_table(pyarrow.table([pyarrow.array(c, f.type) for c, f in zip(columns, schema)], schema=schema))

        for line in lines():
            window, event = orjson.loads(line)
            rows.append((window, int(event["timestamp"]), event["type"], orjson.dumps(event).decode()))
            held += len(line)
            if held > 64 << 20:
                write()
                rows, held = [], 0
        write()
else:
    sys.exit(f"unknown: {what}")
