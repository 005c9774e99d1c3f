//! Which operation a path is.

use std::sync::Arc;

use axum::http::Method;

use super::call::{Api, Call};
use super::reply::Reply;
use super::{agile, fields, files, hooks, issues, people, reference, search, writes};
use crate::Shared;

pub(super) fn dispatch(shared: &Arc<Shared>, site: usize, call: &Call<'_>) -> Result<Reply, Reply> {
    match call.api {
        Api::Agile => return agile::dispatch(shared, site, call),
        Api::Webhooks => return hooks::admin(shared, site, call),
        Api::Secure => return files::page(call, &shared.jira()[site]),
        Api::Two | Api::Three => {}
    }
    if let Some(reply) = writes::dispatch(shared, site, call) {
        return reply;
    }
    let sites = shared.jira();
    let site = &sites[site];
    let get = call.method == Method::GET;
    let post = call.method == Method::POST;
    match call.parts().as_slice() {
        ["search", "jql"] if get || post => search::by_token(call, site),
        ["search"] if get || post => search::by_offset(call, site),
        ["search", "approximate-count"] if post => search::count(call, site),
        ["issue", "bulkfetch"] if post => issues::bulk(call, site),
        ["changelog", "bulkfetch"] if post => issues::changelogs(call, site),
        ["worklog", "list"] if post => issues::worklogs_by_id(call, site),
        ["comment", "list"] if post => issues::comments_by_id(call, site),
        ["issue", "createmeta", project, "issuetypes"] if get => fields::create_types(call, site, project),
        ["issue", "createmeta", project, "issuetypes", kind] if get => {
            fields::create_fields(call, site, project, kind)
        }
        _ if !get => Err(Reply::no_resource()),
        ["serverInfo"] => people::server_info(call, site),
        ["myself"] => people::myself(call, site),
        ["mypermissions"] => people::permissions(call, site),
        ["user"] => people::user(call, site),
        ["user", "bulk"] => people::bulk(call, site),
        ["user", "search"] => people::search(call, site),
        ["user", "assignable", "search"] => people::assignable(call, site),
        ["user", "viewissue", "search"] => people::viewers(call, site),
        ["users", "search"] => people::all(call, site),
        ["field"] => reference::fields(call, site),
        ["field", "search"] => reference::fields_page(call, site),
        ["status"] => reference::objects(call, site, "status"),
        ["statuses", "search"] => reference::statuses_page(call, site),
        ["statuscategory"] => reference::categories(call),
        ["priority"] => reference::objects(call, site, "priority"),
        ["priority", "search"] => reference::page(call, site, "priority"),
        ["issuetype"] => reference::objects(call, site, "issuetype"),
        ["resolution"] => reference::objects(call, site, "resolution"),
        ["resolution", "search"] => reference::page(call, site, "resolution"),
        ["issueLinkType"] => reference::link_types(call, site),
        ["label"] => reference::labels(call, site),
        ["attachment", "meta"] => files::meta(call, site),
        ["attachment", "content", id] => files::content(call, site, id),
        ["project"] => reference::all_projects(call, site),
        ["project", "search"] => reference::projects(call, site),
        ["project", key] => reference::project(call, site, key),
        ["project", key, "versions"] => reference::list_of(call, site, key, "versions"),
        ["project", key, "components"] => reference::list_of(call, site, key, "components"),
        ["project", key, "version"] => reference::page_of(call, site, key, "versions"),
        ["project", key, "component"] => reference::page_of(call, site, key, "components"),
        ["project", key, "statuses"] => reference::project_statuses(call, site, key),
        ["worklog", "updated"] => issues::worklog_feed(call, site, &site.worklog_changes),
        ["worklog", "deleted"] => issues::worklog_feed(call, site, &site.deleted_worklogs),
        ["webhook"] => hooks::list(call, site),
        ["issue", key] => issues::get(call, site, key),
        ["issue", key, "changelog"] => issues::changelog(call, site, key),
        ["comment", id, "properties", name] => issues::comment_property(call, site, id, name),
        ["issue", key, "comment"] => issues::comments(call, site, key),
        ["issue", key, "comment", id] => issues::comment(call, site, key, id),
        ["issue", key, "worklog"] => issues::worklogs(call, site, key),
        ["issue", key, "watchers"] => writes::watchers(call, site, key),
        ["issue", key, "remotelink"] => issues::remote_links(call, site, key),
        ["issue", key, "editmeta"] => fields::edit_meta(call, site, key),
        ["issue", key, "transitions"] => fields::transitions(call, site, key),
        ["issue", key, "properties"] => issues::properties(call, site, key),
        ["issue", key, "properties", name] => issues::property(call, site, key, name),
        _ => Err(Reply::no_resource()),
    }
}
