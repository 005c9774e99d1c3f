-- What one can do with pages that are on disk: COPY, then a statement for each kind of row. :compression and the pages are given.
\set ON_ERROR_STOP 1
create table limit_items (
    id bigint primary key, title text, body text, completed boolean, assignee text, author text, tags text[],
    parent bigint, created_at timestamptz, updated_at timestamptz, closed_at timestamptz, url text,
    raw jsonb compression :compression
);
create table limit_stories (
    id bigint primary key, author text, kind text, body text, created_at timestamptz
);
create temporary table pages (page jsonb, kind text);
-- JSON text holds neither of these two characters, so each line is one page and what it is about.
\copy pages from pstdin with (format csv, quote e'\x01', delimiter e'\t')

insert into limit_items
select (i ->> 'gid')::bigint, i ->> 'name', i ->> 'html_notes', (i ->> 'completed')::boolean,
    i #>> '{assignee,gid}', i #>> '{created_by,gid}',
    array(select tag ->> 'name' from jsonb_array_elements(i -> 'tags') tag), (i #>> '{parent,gid}')::bigint,
    (i ->> 'created_at')::timestamptz, (i ->> 'modified_at')::timestamptz, (i ->> 'completed_at')::timestamptz,
    i ->> 'permalink_url', i
-- A task in two projects is in the list of each.
from (select distinct on (i ->> 'gid') i from pages, jsonb_array_elements(page -> 'data') i
      where kind like '%/tasks' or kind like '%/subtasks') as received
on conflict (id) do update set title = excluded.title, body = excluded.body, completed = excluded.completed,
    assignee = excluded.assignee, tags = excluded.tags, updated_at = excluded.updated_at,
    closed_at = excluded.closed_at, raw = excluded.raw;

insert into limit_stories
select (s ->> 'gid')::bigint, s #>> '{created_by,gid}', s ->> 'resource_subtype', s ->> 'html_text',
    (s ->> 'created_at')::timestamptz
from pages, jsonb_array_elements(page -> 'data') s
where kind like '%/stories'
on conflict (id) do nothing;
