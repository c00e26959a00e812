-- Schema of the store, version 2: what is added to version 1.
--
-- One row is one report: an event for one target, written in the transaction of the change that it
-- tells of, and deleted when it is delivered. Reports of one request go to a target in the order of
-- their ids.

CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice, so that a late word hits nobody else
    target TEXT NOT NULL,                 -- the name of who is told
    event_id TEXT NOT NULL,               -- of the event: the same for all targets and attempts
    type TEXT NOT NULL,                   -- report.EventType
    request_id TEXT NOT NULL,
    created_at REAL NOT NULL,             -- epoch seconds
    attempts INTEGER NOT NULL DEFAULT 0,  -- that failed
    due_at REAL NOT NULL,                 -- epoch seconds: not before
    dead_at REAL,                         -- epoch seconds: given up; NULL while it waits
    reason TEXT,                          -- why the latest attempt failed
    body TEXT NOT NULL,                   -- JSON, sent as it stands here
    UNIQUE (target, event_id)
) STRICT;

-- What is due for a target.
CREATE INDEX outbox_due ON outbox (target, due_at, id) WHERE dead_at IS NULL;

-- Whether something of the same request is to go first.
CREATE INDEX outbox_by_request ON outbox (target, request_id, id) WHERE dead_at IS NULL;

-- Dead letters.
CREATE INDEX outbox_dead ON outbox (target, dead_at) WHERE dead_at IS NOT NULL;

UPDATE schema_version SET version = 2;
