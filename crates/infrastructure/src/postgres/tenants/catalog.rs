//! Which tables hold tenants' rows, as the database's catalog has it: a new table cannot be forgotten.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "statements over tables of the catalog, whose names the database itself has quoted"
)]

use application::ports::{StoreError, TenantTable};
use sqlx::{AssertSqlSafe, PgConnection};

use crate::postgres::db::store_error;

/// Columns that no export holds: keyed hashes of secrets, sealed values, wrapped keys, and files that are on their way for
/// some minutes.
pub const WITHHELD: [(&str, &str); 10] = [
    ("api_keys", "mac"),
    ("credentials", "sealed"),
    ("idempotency_keys", "body"),
    ("invitations", "mac"),
    ("sessions", "mac"),
    ("tenant_data_keys", "wrapped"),
    ("uploads", "content"),
    ("webhook_subscriptions", "sealed"),
    ("webhook_subscriptions", "token_digest"),
    ("write_intents", "outcome"),
];

/// The columns of bytes that an export does hold. Any other is left out, so that a new secret is not exported before
/// somebody has thought about it.
pub const EXPORTED_BYTES: [(&str, &str); 9] = [
    ("audit_heads", "hash"),
    ("audit_heads", "seal"),
    ("audit_log", "arguments_digest"),
    ("audit_log", "hash"),
    ("comments", "content_hash"),
    ("idempotency_keys", "fingerprint"),
    ("projects", "content_hash"),
    ("work_items", "content_hash"),
    ("write_intents", "fingerprint"),
];

/// Tables of tenants and the foreign keys between them, then those that the caller may delete from, children before
/// what they refer to.
pub(super) async fn removable(connection: &mut PgConnection) -> Result<Vec<TenantTable>, StoreError> {
    let tables: Vec<String> = sqlx::query_scalar(
        "select c.relname::text from pg_catalog.pg_class c
         join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
         where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
           and pg_catalog.has_table_privilege(c.oid, 'delete')
         order by c.relname",
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(store_error)?;
    let references: Vec<(String, String)> = sqlx::query_as(
        "select k.conrelid::regclass::text, k.confrelid::regclass::text from pg_catalog.pg_constraint k
         where k.contype = 'f' and k.connamespace = 'public'::regnamespace and k.conrelid <> k.confrelid",
    )
    .fetch_all(connection)
    .await
    .map_err(store_error)?;
    Ok(children_first(tables, &references).into_iter().map(TenantTable).collect())
}

/// Puts each table before those it refers to. References in a circle are left as they are: deleting fails loudly then.
fn children_first(mut rest: Vec<String>, references: &[(String, String)]) -> Vec<String> {
    let mut ordered = Vec::with_capacity(rest.len());
    while !rest.is_empty() {
        let free = |table: &String, rest: &[String]| {
            !references.iter().any(|(child, parent)| parent == table && rest.contains(child))
        };
        let (mut now, later): (Vec<String>, Vec<String>) =
            rest.iter().cloned().partition(|table| free(table, &rest));
        if now.is_empty() {
            ordered.extend(later);
            return ordered;
        }
        ordered.append(&mut now);
        rest = later;
    }
    ordered
}

/// Removes at most `limit` of the tenant's rows, in the order of the primary key, whose index begins with the tenant.
/// `ctid = any` makes it fetch just those rows, whatever the statistics say.
pub(super) async fn delete_some(
    connection: &mut PgConnection,
    table: &TenantTable,
    tenant: uuid::Uuid,
    limit: i64,
) -> Result<u64, StoreError> {
    let statement: String = sqlx::query_scalar(
        "select format('delete from public.%1$I where tenant_id = $1 and ctid = any (array(
             select ctid from public.%1$I where tenant_id = $1 order by %2$s limit $2))', c.relname,
             (select string_agg(quote_ident(a.attname), ', ' order by k.place)
              from unnest(i.indkey::int2[]) with ordinality as k (attnum, place)
              join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum))
         from pg_catalog.pg_class c join pg_catalog.pg_index i on i.indrelid = c.oid and i.indisprimary
         where c.relnamespace = 'public'::regnamespace and c.relname = $1",
    )
    .bind(&table.0)
    .fetch_one(&mut *connection)
    .await
    .map_err(store_error)?;
    sqlx::query(AssertSqlSafe(statement))
        .bind(tenant)
        .bind(limit)
        .execute(connection)
        .await
        .map(|done| done.rows_affected())
        .map_err(store_error)
}

/// A table and the statement that reads the tenant's rows of it, each as one JSON object.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Readable {
    pub(super) name: String,
    statement: String,
}

impl Readable {
    /// `$1` is the tenant.
    pub(super) fn rows(&self) -> AssertSqlSafe<String> {
        AssertSqlSafe(self.statement.clone())
    }
}

/// Every table of tenants, `tenants` itself included, without what is withheld and what is only derived. Parents first,
/// so that an export can be read in again in its order.
pub(super) async fn readable(connection: &mut PgConnection) -> Result<Vec<Readable>, StoreError> {
    let exported: (Vec<&str>, Vec<&str>) = EXPORTED_BYTES.into_iter().unzip();
    let withheld: (Vec<&str>, Vec<&str>) = WITHHELD.into_iter().unzip();
    sqlx::query_as(
        "with tables as (
             select c.oid, c.relname, case c.relname when 'tenants' then 'id' else 'tenant_id' end as tenant
             from pg_catalog.pg_class c
             where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
               and (c.relname = 'tenants' or exists (select from pg_catalog.pg_attribute a
                    where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped)))
         select t.relname::text as name, format(
                'select row_to_json(r)::text from (select %s from public.%I where %I = $1) r',
                (select string_agg(quote_ident(a.attname), ', ' order by a.attnum) from pg_catalog.pg_attribute a
                 where a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
                   and (t.relname::text, a.attname::text) not in (select * from unnest($3::text[], $4::text[]))
                   and (a.atttypid <> 'bytea'::regtype
                        or (t.relname::text, a.attname::text) in (select * from unnest($1::text[], $2::text[])))),
                t.relname, t.tenant) as statement
         from tables t
         order by t.relname <> 'tenants', t.relname <> 'source_instances', t.relname",
    )
    .bind(exported.0)
    .bind(exported.1)
    .bind(withheld.0)
    .bind(withheld.1)
    .fetch_all(connection)
    .await
    .map_err(store_error)
}

#[cfg(test)]
mod tests {
    use super::children_first;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn children_come_before_what_they_refer_to() {
        let references = [("b", "a"), ("c", "b"), ("d", "a"), ("x", "elsewhere")]
            .map(|(child, parent)| (child.to_owned(), parent.to_owned()));
        let ordered = children_first(names(&["a", "b", "c", "d", "x"]), &references);
        let place = |name: &str| ordered.iter().position(|table| table == name).unwrap();
        assert_eq!(ordered.len(), 5);
        assert!(place("c") < place("b") && place("b") < place("a") && place("d") < place("a"), "{ordered:?}");
    }

    #[test]
    fn a_circle_of_references_is_not_followed_for_ever() {
        let references =
            [("a", "b"), ("b", "a")].map(|(child, parent)| (child.to_owned(), parent.to_owned()));
        assert_eq!(children_first(names(&["a", "b", "c"]), &references).len(), 3);
    }
}
