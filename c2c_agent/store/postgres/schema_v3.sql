-- Schema of a store in PostgreSQL, version 3, the first: what sqlite/schema_v1.sql to _v3.sql say of
-- calls and outbox holds here, too. Beyond it: what several processes have to agree on.

CREATE TABLE schema_version (
    version INTEGER NOT NULL              -- of this schema; c2c-agent upgrades older ones by itself
);

INSERT INTO schema_version (version) VALUES (3);

CREATE TABLE calls (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    request_id TEXT NOT NULL UNIQUE,
    key_name TEXT NOT NULL,
    received_at DOUBLE PRECISION NOT NULL,
    state TEXT NOT NULL,
    outcome TEXT,
    ended_at DOUBLE PRECISION,
    record TEXT NOT NULL,                 -- JSON; its escapes may stand for what jsonb refuses
    server_id TEXT NOT NULL               -- of the process that has it
);

CREATE INDEX calls_unfinished ON calls (server_id, id) WHERE state <> 'ended';
CREATE INDEX calls_by_key ON calls (key_name, received_at);
CREATE INDEX calls_by_time ON calls (received_at);

CREATE TABLE outbox (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    target TEXT NOT NULL,
    event_id TEXT NOT NULL,
    type TEXT NOT NULL,
    request_id TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    due_at DOUBLE PRECISION NOT NULL,
    dead_at DOUBLE PRECISION,
    reason TEXT,
    body TEXT NOT NULL,
    server_id TEXT NOT NULL,              -- of the process that tells it
    UNIQUE (target, event_id)
);

CREATE INDEX outbox_due ON outbox (server_id, target, due_at, id) WHERE dead_at IS NULL;
CREATE INDEX outbox_by_request ON outbox (target, request_id, id) WHERE dead_at IS NULL;
CREATE INDEX outbox_dead ON outbox (target, dead_at) WHERE dead_at IS NOT NULL;

-- One row is one request that a process has taken: written with the call's first row, before anybody
-- is rung. The limits of keys are counted here, over all processes.
CREATE TABLE claims (
    request_id TEXT PRIMARY KEY REFERENCES calls (request_id) ON DELETE CASCADE,
    key_name TEXT NOT NULL,
    admitted_at DOUBLE PRECISION,         -- epoch seconds of the database's clock; NULL: refused
    running BOOLEAN NOT NULL,             -- counts as a call in progress
    reserved DOUBLE PRECISION NOT NULL,   -- seconds that it may use of its key's, at the most
    ended_at DOUBLE PRECISION,            -- as admitted_at; NULL: it has not ended
    spent DOUBLE PRECISION,               -- seconds that it has used of its key's; NULL: not ended
    dialled BOOLEAN NOT NULL DEFAULT TRUE, -- FALSE: its end says that nobody was
    cancelled BOOLEAN NOT NULL DEFAULT FALSE -- somebody has asked another process to cancel it
);

CREATE INDEX claims_running ON claims (key_name) WHERE running OR reserved > 0;
CREATE INDEX claims_by_key ON claims (key_name, admitted_at);
CREATE INDEX claims_by_end ON claims (key_name, ended_at) WHERE spent > 0;

-- Callers' keys, beside those of the configuration. Of a key there is the hash alone.
CREATE TABLE keys (
    name TEXT PRIMARY KEY,
    sha256 TEXT NOT NULL,                 -- as `c2c-agent key new` prints it
    settings JSONB NOT NULL DEFAULT '{}'  -- allow, agent, per_minute …: as in the configuration
);

-- Every process hears of a change, and reads them again.
CREATE FUNCTION c2c_keys_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('c2c_keys', '');
    RETURN NULL;
END
$$;

CREATE TRIGGER keys_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON keys
    FOR EACH STATEMENT EXECUTE FUNCTION c2c_keys_changed();
