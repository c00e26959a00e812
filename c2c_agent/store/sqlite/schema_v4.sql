-- Schema of the store, version 4: what is added to version 3.
--
-- Calls are looked for by number and outcome, too, and a call is found that was placed a moment ago
-- between the same two numbers.

ALTER TABLE calls ADD COLUMN first_number TEXT;   -- as dialled; NULL: the request was no valid job

ALTER TABLE calls ADD COLUMN second_number TEXT;  -- likewise

UPDATE calls SET
    first_number = json_extract(record, '$.job.dial_first'),
    second_number = json_extract(record, '$.job.dial_second');

CREATE INDEX calls_by_first ON calls (first_number, received_at);

CREATE INDEX calls_by_second ON calls (second_number, received_at);

CREATE INDEX calls_by_outcome ON calls (outcome, received_at);

-- One row is one token that was used where its uses are counted, or was revoked; also a ticket for a
-- stream, which is used once. What a token opens stands in itself, and nowhere here.
CREATE TABLE tokens (
    key_name TEXT NOT NULL,               -- of the key whose token it is
    token TEXT NOT NULL,                  -- its id
    used INTEGER NOT NULL,                -- calls that were placed with it
    revoked INTEGER NOT NULL,             -- 1: it opens nothing any more
    expires_at REAL NOT NULL,             -- epoch seconds: by then it opens nothing anyway
    PRIMARY KEY (key_name, token)
) STRICT;

CREATE INDEX tokens_by_end ON tokens (expires_at);

UPDATE schema_version SET version = 4;
