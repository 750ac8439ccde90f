-- Version 2: what people said of recordings, which follows the files of notes.rs as all else follows the objects.

CREATE TABLE notes (
    project       TEXT    NOT NULL,
    recording     TEXT    NOT NULL,
    -- Which file it is in.
    shard         INTEGER NOT NULL,
    deleted_at_ms INTEGER,
    is_pinned     INTEGER NOT NULL,
    is_seen       INTEGER NOT NULL,
    comment_count INTEGER NOT NULL,
    document      TEXT    NOT NULL,
    PRIMARY KEY (recording, project)
) STRICT, WITHOUT ROWID;
CREATE INDEX notes_of_shard ON notes (shard);
CREATE INDEX notes_deleted ON notes (deleted_at_ms) WHERE deleted_at_ms IS NOT NULL;
CREATE INDEX notes_pinned ON notes (recording) WHERE is_pinned = 1;
CREATE INDEX notes_commented ON notes (recording) WHERE comment_count > 0;
CREATE TABLE tags (
    tag       TEXT NOT NULL,
    project   TEXT NOT NULL,
    recording TEXT NOT NULL,
    PRIMARY KEY (tag, recording, project)
) STRICT, WITHOUT ROWID;
CREATE INDEX tags_of_recording ON tags (recording, project, tag);

-- Whether the file still holds blocks of recordings that were deleted.
ALTER TABLE objects ADD COLUMN is_to_erase INTEGER NOT NULL DEFAULT 0;
CREATE INDEX objects_to_erase ON objects (seq) WHERE is_to_erase = 1;
