-- Version 1 of the catalog. Columns that are filtered, sorted or joined on are columns; the rest of a summary is JSON.
-- Times are milliseconds since the epoch.

CREATE TABLE projects (
    id            INTEGER PRIMARY KEY,
    key           TEXT    NOT NULL UNIQUE,
    name          TEXT    NOT NULL,
    created_at_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE objects (
    seq             INTEGER PRIMARY KEY,
    key             TEXT    NOT NULL UNIQUE,
    kind            TEXT    NOT NULL,
    stored_bytes    INTEGER NOT NULL,
    recording_count INTEGER NOT NULL,
    block_count     INTEGER NOT NULL,
    live_blocks     INTEGER NOT NULL,
    -- Blocks of no recording, which are not in `blocks`; 0 once a later object carries them.
    project_blocks  INTEGER NOT NULL,
    -- When the last block of either kind was replaced.
    dead_at_ms      INTEGER
) STRICT;
CREATE INDEX objects_dead ON objects (seq) WHERE live_blocks = 0 AND project_blocks = 0;
CREATE INDEX objects_to_carry ON objects (seq) WHERE live_blocks = 0 AND project_blocks > 0;

CREATE TABLE recordings (
    id                  INTEGER PRIMARY KEY,
    project_id          INTEGER NOT NULL REFERENCES projects (id),
    recording           TEXT    NOT NULL,
    start_ms            INTEGER NOT NULL,
    end_ms              INTEGER NOT NULL,
    duration_ms         INTEGER NOT NULL,
    active_ms           INTEGER NOT NULL,
    event_count         INTEGER NOT NULL,
    click_count         INTEGER NOT NULL,
    keypress_count      INTEGER NOT NULL,
    console_error_count INTEGER NOT NULL,
    start_url           TEXT,
    stored_bytes        INTEGER NOT NULL,
    block_count         INTEGER NOT NULL,
    hot_block_count     INTEGER NOT NULL,
    updated_at_ms       INTEGER NOT NULL,
    summary             TEXT    NOT NULL
) STRICT;
-- The id comes before the project, because the order of a page across projects is start, id, project.
CREATE INDEX recordings_newest ON recordings (start_ms DESC, recording, project_id);
CREATE INDEX recordings_newest_of_project ON recordings (project_id, start_ms DESC, recording);
CREATE UNIQUE INDEX recordings_by_id ON recordings (recording, project_id);
-- One index for each filter that can be rare: query.rs drives a listing by the rarest. What a recording in progress says
-- changes with every object, so these hold it once it is compacted; the few that are not are looked through in
-- recordings_hot. So an object's rows are written at the young end of the indexes, however many recordings there are.
-- hot_block_count is a column too, because SQLite would look into the table for it.
CREATE INDEX recordings_by_duration ON recordings (duration_ms, hot_block_count) WHERE hot_block_count = 0;
CREATE INDEX recordings_by_clicks ON recordings (click_count, hot_block_count) WHERE hot_block_count = 0;
CREATE INDEX recordings_by_keypresses ON recordings (keypress_count, hot_block_count) WHERE hot_block_count = 0;
CREATE INDEX recordings_by_update ON recordings (updated_at_ms, hot_block_count) WHERE hot_block_count = 0;
CREATE INDEX recordings_by_errors ON recordings (console_error_count) WHERE console_error_count > 0;
CREATE INDEX recordings_hot ON recordings (updated_at_ms, id, hot_block_count, duration_ms, click_count, keypress_count)
    WHERE hot_block_count > 0;

-- What each object said of a recording that it holds live blocks of: the summary is the merge of these. The rest is for
-- the compactor: the uploads (16 bytes each), and which blocks of other objects are in this part.
CREATE TABLE parts (
    recording_id INTEGER NOT NULL REFERENCES recordings (id),
    object_seq   INTEGER NOT NULL,
    live_blocks  INTEGER NOT NULL,
    summary      TEXT    NOT NULL,
    uploads      BLOB    NOT NULL,
    replaces     TEXT    NOT NULL,
    PRIMARY KEY (recording_id, object_seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE blocks (
    object_seq   INTEGER NOT NULL,
    block        INTEGER NOT NULL,
    recording_id INTEGER NOT NULL REFERENCES recordings (id),
    kind         TEXT    NOT NULL,
    start_ms     INTEGER NOT NULL,
    end_ms       INTEGER NOT NULL,
    event_count  INTEGER NOT NULL,
    byte_offset  INTEGER NOT NULL,
    stored_bytes INTEGER NOT NULL,
    plain_bytes  INTEGER NOT NULL,
    hash         BLOB    NOT NULL,
    windows      TEXT    NOT NULL,
    keyframes    TEXT    NOT NULL,
    PRIMARY KEY (object_seq, block)
) STRICT, WITHOUT ROWID;
CREATE INDEX blocks_of_recording ON blocks (recording_id, start_ms, object_seq, block);

CREATE TABLE uploads (
    project_id   INTEGER NOT NULL,
    upload       BLOB    NOT NULL,
    recording    TEXT,
    sealed_at_ms INTEGER NOT NULL,
    PRIMARY KEY (project_id, upload)
) STRICT, WITHOUT ROWID;
CREATE INDEX uploads_by_age ON uploads (sealed_at_ms);

-- URLs are few and long, so each is kept once.
CREATE TABLE urls (
    id  INTEGER PRIMARY KEY,
    url TEXT NOT NULL UNIQUE
) STRICT;
CREATE VIRTUAL TABLE url_search USING fts5 (url, content = 'urls', content_rowid = 'id', tokenize = 'trigram');
CREATE TABLE recording_urls (
    url_id       INTEGER NOT NULL,
    recording_id INTEGER NOT NULL,
    PRIMARY KEY (url_id, recording_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX urls_of_recording ON recording_urls (recording_id, url_id);

-- A person is the distinct ids that have one person_id: the id of the first of them.
CREATE TABLE distinct_ids (
    id          INTEGER PRIMARY KEY,
    project_id  INTEGER NOT NULL REFERENCES projects (id),
    distinct_id TEXT    NOT NULL,
    person_id   INTEGER NOT NULL,
    UNIQUE (project_id, distinct_id)
) STRICT;
CREATE INDEX distinct_ids_of_person ON distinct_ids (person_id);
CREATE TABLE recording_distinct_ids (
    distinct_id  INTEGER NOT NULL REFERENCES distinct_ids (id),
    recording_id INTEGER NOT NULL REFERENCES recordings (id),
    PRIMARY KEY (distinct_id, recording_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX distinct_ids_of_recording ON recording_distinct_ids (recording_id, distinct_id);
-- Of each name at most one row per way, so that a set and a set_once can arrive in either order.
CREATE TABLE person_properties (
    person_id INTEGER NOT NULL,
    name      TEXT    NOT NULL,
    way       TEXT    NOT NULL,
    at_ms     INTEGER NOT NULL,
    value     TEXT    NOT NULL,
    PRIMARY KEY (person_id, name, way)
) STRICT, WITHOUT ROWID;
CREATE VIRTUAL TABLE person_search USING fts5 (properties, tokenize = 'trigram');

CREATE TABLE drops (
    reason TEXT    PRIMARY KEY,
    count  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- next_object_seq outlives the objects, which are forgotten when they are swept.
CREATE TABLE progress (
    one             INTEGER PRIMARY KEY CHECK (one = 1),
    next_object_seq INTEGER NOT NULL
) STRICT;
INSERT INTO progress VALUES (1, 0);
