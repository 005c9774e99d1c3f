-- What one can do with pages that are on disk: COPY, then a statement for each kind of row. :compression and the pages are given.
\set ON_ERROR_STOP 1
create table limit_items (
    id bigint primary key, key text, title text, body text, status text, assignee text, reporter text, labels text[],
    created_at timestamptz, updated_at timestamptz, closed_at timestamptz, raw jsonb compression :compression
);
create table limit_comments (id bigint primary key, item bigint, author text, body text, created_at timestamptz);
create table limit_worklogs (id bigint primary key, item bigint, author text, seconds int, started_at timestamptz);
create table limit_changes (
    id bigint, position int, item bigint, author text, at timestamptz, field text, before text, after text,
    primary key (id, position)
);
create temporary table pages (page jsonb, kind text);
-- JSON text holds neither of these two characters, so each line is one page and what it is about.
\copy pages from pstdin with (format csv, quote e'\x01', delimiter e'\t')

insert into limit_items
select (i ->> 'id')::bigint, i ->> 'key', i #>> '{fields,summary}', i #>> '{fields,description}',
    i #>> '{fields,status,name}', i #>> '{fields,assignee,accountId}', i #>> '{fields,reporter,accountId}',
    array(select jsonb_array_elements_text(i #> '{fields,labels}')),
    (i #>> '{fields,created}')::timestamptz, (i #>> '{fields,updated}')::timestamptz,
    (i #>> '{fields,resolutiondate}')::timestamptz,
    -- Kept in tables of their own.
    i #- '{fields,comment}' #- '{fields,worklog}'
from (select distinct on (i ->> 'id') i from pages, jsonb_array_elements(page -> 'issues') i
      where kind like '%/search/jql') as received
on conflict (id) do update set title = excluded.title, body = excluded.body, status = excluded.status,
    assignee = excluded.assignee, labels = excluded.labels, updated_at = excluded.updated_at,
    closed_at = excluded.closed_at, raw = excluded.raw;

insert into limit_comments
select (c ->> 'id')::bigint, (i ->> 'id')::bigint, c #>> '{author,accountId}', c ->> 'body',
    (c ->> 'created')::timestamptz
from pages, jsonb_array_elements(page -> 'issues') i, jsonb_array_elements(i #> '{fields,comment,comments}') c
where kind like '%/search/jql'
on conflict (id) do nothing;

insert into limit_worklogs
select (w ->> 'id')::bigint, (i ->> 'id')::bigint, w #>> '{author,accountId}', (w ->> 'timeSpentSeconds')::int,
    (w ->> 'started')::timestamptz
from pages, jsonb_array_elements(page -> 'issues') i, jsonb_array_elements(i #> '{fields,worklog,worklogs}') w
where kind like '%/search/jql'
on conflict (id) do nothing;

insert into limit_changes
select (h ->> 'id')::bigint, position, (l ->> 'issueId')::bigint, h #>> '{author,accountId}',
    (h ->> 'created')::timestamptz, c ->> 'field', c ->> 'fromString', c ->> 'toString'
from pages, jsonb_array_elements(page -> 'issueChangeLogs') l, jsonb_array_elements(l -> 'changeHistories') h,
    jsonb_array_elements(h -> 'items') with ordinality as changed (c, position)
where kind like '%/changelog/bulkfetch'
on conflict (id, position) do nothing;
