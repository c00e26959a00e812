-- Schema of a store in PostgreSQL, version 4: what sqlite/schema_v4.sql says of its additions holds
-- here, too.

ALTER TABLE calls ADD COLUMN first_number TEXT;

ALTER TABLE calls ADD COLUMN second_number TEXT;

-- A record with an escape in it may stand for what PostgreSQL refuses to read; such a call of before
-- is not found by its numbers.
UPDATE calls SET
    first_number = record::json #>> '{job,dial_first}',
    second_number = record::json #>> '{job,dial_second}'
WHERE record NOT LIKE '%\\u%';

CREATE INDEX calls_by_first ON calls (first_number, received_at);

CREATE INDEX calls_by_second ON calls (second_number, received_at);

CREATE INDEX calls_by_outcome ON calls (outcome, received_at);

CREATE TABLE tokens (
    key_name TEXT NOT NULL,
    token TEXT NOT NULL,
    used INTEGER NOT NULL,
    revoked INTEGER NOT NULL,
    expires_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (key_name, token)
);

CREATE INDEX tokens_by_end ON tokens (expires_at);

UPDATE schema_version SET version = 4;
