-- Schema of the store, version 1.
--
-- One row is one request, from its arrival to its one final outcome. The whole story is in `record`
-- (JSON, see record.py), written anew with every change of the call: so the row is always one
-- truth, and a change is one write. What is looked for stands in columns of its own.

CREATE TABLE schema_version (
    version INTEGER NOT NULL              -- of this file; the store upgrades older ones by itself
) STRICT;

INSERT INTO schema_version (version) VALUES (1);

CREATE TABLE calls (
    id INTEGER PRIMARY KEY,               -- order of arrival
    request_id TEXT NOT NULL UNIQUE,      -- UUID, lower case
    key_name TEXT NOT NULL,               -- of the key that placed it
    received_at REAL NOT NULL,            -- epoch seconds
    state TEXT NOT NULL,                  -- call.CallState
    outcome TEXT,                         -- disposition.Outcome; NULL until the state is 'ended'
    ended_at REAL,                        -- epoch seconds
    record TEXT NOT NULL                  -- the call, as JSON
) STRICT;

-- After a restart: which calls have to be settled.
CREATE INDEX calls_unfinished ON calls (id) WHERE state <> 'ended';

-- Recent calls of one key; how many it placed in the last minute.
CREATE INDEX calls_by_key ON calls (key_name, received_at);

-- Recent calls of all.
CREATE INDEX calls_by_time ON calls (received_at);
