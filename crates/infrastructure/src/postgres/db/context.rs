//! What a transaction begins with: whose it is, and what they are narrowed to.

use application::Ctx;

/// `BEGIN`, the tenant, and what the principal is narrowed to, for one round trip. A UUID's text cannot carry SQL, and
/// a project key holds no quote, backslash or control character.
pub(super) fn context(begin: &str, ctx: &Ctx) -> String {
    let mut statement = format!("{begin}; SET LOCAL app.current_tenant_id = '{}'", ctx.tenant);
    let (instances, projects) = narrowing(ctx);
    if let Some(list) = instances {
        statement.push_str(&format!("; SET LOCAL app.allowed_instances = '{list}'"));
    }
    if let Some(list) = projects {
        statement.push_str(&format!("; SET LOCAL app.allowed_projects = '{list}'"));
    }
    statement
}

/// What the principal is narrowed to, instances and projects, as the settings hold it. `None` for all.
pub(in crate::postgres) fn narrowing(ctx: &Ctx) -> (Option<String>, Option<String>) {
    let instances = ctx.grant.instances.as_list().map(|instances| {
        let list: Vec<String> = instances.iter().map(ToString::to_string).collect();
        // Empty would read as not narrowed: the nil UUID names no instance.
        if list.is_empty() { uuid::Uuid::nil().to_string() } else { list.join(",") }
    });
    let projects = ctx.grant.projects_read.as_list().map(|projects| {
        let list: Vec<&str> = projects.iter().map(domain::ProjectKey::as_str).collect();
        // No key begins with the separator, so that a separator alone names no project.
        if list.is_empty() { "\u{1f}".to_owned() } else { list.join("\u{1f}") }
    });
    (instances, projects)
}
