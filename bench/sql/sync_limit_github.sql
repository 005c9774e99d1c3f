-- What one can do with pages that are on disk: COPY, then one statement. :compression and the pages are given.
\set ON_ERROR_STOP 1
create table limit_items (
    id bigint primary key, number int, title text, body text, state text, assignee text, author text, labels text[],
    created_at timestamptz, updated_at timestamptz, closed_at timestamptz, url text,
    raw jsonb compression :compression
);
create temporary table pages (page jsonb, kind text);
-- JSON text holds neither of these two characters, so each line is one page and what it is about.
\copy pages from pstdin with (format csv, quote e'\x01', delimiter e'\t')

insert into limit_items
select (i ->> 'id')::bigint, (i ->> 'number')::int, i ->> 'title', i ->> 'body', i ->> 'state',
    i #>> '{assignee,login}', i #>> '{user,login}',
    array(select label ->> 'name' from jsonb_array_elements(i -> 'labels') label),
    (i ->> 'created_at')::timestamptz, (i ->> 'updated_at')::timestamptz, (i ->> 'closed_at')::timestamptz,
    i ->> 'html_url', i
-- A page asked for by time begins with what the page before ended with.
from (select distinct on (i ->> 'id') i from pages, jsonb_array_elements(page) i where kind like '%/issues') as received
on conflict (id) do update set title = excluded.title, body = excluded.body, state = excluded.state,
    assignee = excluded.assignee, labels = excluded.labels, updated_at = excluded.updated_at,
    closed_at = excluded.closed_at, raw = excluded.raw;
