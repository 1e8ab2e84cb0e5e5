-- One row a task. What a filter or the retention asks for stands in columns of its own; the rest of
-- the task and of what became of it is JSON. Columns from `status` on change, those before never do.
create table tasks (
    number integer primary key,     -- order of acceptance, never used again
    task_id text not null unique,
    function text not null,
    tags text,                      -- JSON array; null: none
    task blob not null,             -- the other fields of the task, as JSON
    payload blob,                   -- as it was sent; null: in `large`
    status text not null,
    completed_at real,              -- seconds since the epoch; null: it has not ended
    size integer not null,          -- bytes that it counts for
    large integer not null,         -- which parts are in `large`: sum of their bits
    state blob not null,            -- attempt, budgets, times and failure, as JSON
    result blob,                    -- JSON, as the executor sent it
    output blob,                    -- null: none, or in `large`
    checksum integer not null       -- CRC-32 of all the others
);

-- The order in which tasks are forgotten.
create index tasks_ended on tasks (completed_at, number, size) where completed_at is not null;

-- Payloads, results and outputs that are too long to be written again with every change of a row.
create table large (
    number integer not null,
    part integer not null,          -- 1 payload, 2 result, 4 output
    bytes blob not null,
    checksum integer not null,      -- CRC-32 of all the others
    primary key (number, part)
);

-- One row: how many commits there were, and the last number that was given away.
create table head (
    commits integer not null,
    last_number integer not null
);

insert into head values (0, 0);
