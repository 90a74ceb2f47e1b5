//! The tables, in the steps in which they came to be: a file of an older version takes those that it lacks.

use sqlite::Schema;

pub const SCHEMA: Schema = Schema(&[
    "
    CREATE TABLE jobs (
        _id TEXT PRIMARY KEY,
        owner TEXT NOT NULL,
        filename TEXT,
        state TEXT NOT NULL,
        percent INTEGER NOT NULL DEFAULT 0,
        video_fid TEXT NOT NULL UNIQUE,
        video_bytes INTEGER,
        mp3_fid TEXT,
        mp3_bytes INTEGER,
        duration_s REAL,
        reason TEXT,
        -- One JSON object.
        settings TEXT NOT NULL DEFAULT '{}',
        key TEXT,
        run INTEGER NOT NULL DEFAULT 1,
        attempt INTEGER NOT NULL DEFAULT 0,
        attempts_before INTEGER NOT NULL DEFAULT 0,
        -- Ids with a space before each.
        outputs TEXT NOT NULL DEFAULT '',
        lease_until INTEGER,
        told_at INTEGER,
        mailed_at INTEGER,
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL,
        -- Since when it has stood in the line.
        lined_up_at INTEGER NOT NULL,
        leased_at INTEGER
    ) STRICT;
    CREATE INDEX jobs_of_owner ON jobs (owner, created_at, _id);
    CREATE UNIQUE INDEX jobs_by_key ON jobs (owner, key) WHERE key IS NOT NULL;
    CREATE INDEX jobs_in_line ON jobs (lined_up_at, _id) WHERE state IN ('stored', 'queued');
    CREATE INDEX jobs_by_change ON jobs (updated_at);
    CREATE INDEX jobs_by_mp3 ON jobs (mp3_fid) WHERE mp3_fid IS NOT NULL;
    CREATE INDEX jobs_by_age ON jobs (state, updated_at);
    CREATE TABLE workers (_id TEXT PRIMARY KEY, seen_at INTEGER NOT NULL) STRICT;
",
    "
    -- When it became `done` or `failed`.
    ALTER TABLE jobs ADD COLUMN ended_at INTEGER;
    -- The span in which it was accepted.
    ALTER TABLE jobs ADD COLUMN traceparent TEXT;
",
    "
    -- Since when the video is not to be used any more.
    ALTER TABLE jobs ADD COLUMN video_expired_at INTEGER;
    -- When it was gone.
    ALTER TABLE jobs ADD COLUMN video_removed_at INTEGER;
    CREATE INDEX jobs_by_end ON jobs (coalesce(ended_at, updated_at))
        WHERE state IN ('done', 'failed', 'cancelled');
",
    "
    -- It waits for others of its owner.
    ALTER TABLE jobs ADD COLUMN held INTEGER NOT NULL DEFAULT 0;
    DROP INDEX jobs_in_line;
    CREATE INDEX jobs_in_line ON jobs (held, lined_up_at, _id) WHERE state IN ('stored', 'queued');
",
    "
    CREATE INDEX jobs_untold ON jobs (updated_at) WHERE state IN ('done', 'failed') AND told_at IS NULL;
",
    "
    -- Of records that were removed.
    CREATE TABLE removed (_id TEXT PRIMARY KEY, at INTEGER NOT NULL) STRICT;
    CREATE INDEX removed_by_age ON removed (at);
",
    "
    ALTER TABLE workers ADD COLUMN role TEXT NOT NULL DEFAULT 'converter';
    -- When its mail was given up, or asked for once more.
    ALTER TABLE jobs ADD COLUMN unmailed_at INTEGER;
    CREATE INDEX jobs_unmailed ON jobs (told_at) WHERE state IN ('done', 'failed')
        AND mailed_at IS NULL AND unmailed_at IS NULL;
    -- Since when there have been workers of a kind, and when one was seen last.
    CREATE TABLE roles (role TEXT PRIMARY KEY, since INTEGER NOT NULL, seen_at INTEGER NOT NULL) STRICT;
",
    "
    -- The worker knows that it has the lease.
    ALTER TABLE jobs ADD COLUMN heard INTEGER NOT NULL DEFAULT 1;
    CREATE INDEX jobs_with_video ON jobs (coalesce(ended_at, updated_at))
        WHERE state IN ('done', 'failed', 'cancelled') AND video_removed_at IS NULL;
",
]);
