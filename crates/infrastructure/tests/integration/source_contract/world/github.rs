use super::*;

const OTHER: &str = "acme/other";

pub(super) struct GitHub;

fn number(name: &str) -> (&str, u64) {
    let (repository, number) = name.rsplit_once('#').unwrap();
    (repository, number.parse().unwrap())
}

impl World for GitHub {
    fn name(&self) -> &'static str {
        "github"
    }

    fn source(&self) -> &'static str {
        "github"
    }

    fn fill(&self, control: &Control) {
        control.add_repository(simulator::generate::repository(REPOSITORY, 7, ITEMS)).unwrap();
        control.add_repository(simulator::generate::repository(OTHER, 8, 20)).unwrap();
    }

    fn base(&self) -> &'static str {
        ""
    }

    fn credential(&self) -> Credential {
        Credential::Token { token: TOKEN.to_owned().into() }
    }

    fn settings(&self) -> Value {
        json!({"repositories": [REPOSITORY, OTHER]})
    }

    fn items(&self, control: &Control) -> BTreeMap<String, i64> {
        let of = |repository: &'static str| {
            let times = control.item_times(repository).unwrap();
            times.into_iter().map(move |(number, at)| (format!("{repository}#{number}"), at * 1_000))
        };
        of(REPOSITORY).chain(of(OTHER)).collect()
    }

    fn comments(&self, control: &Control) -> usize {
        control.comment_count(REPOSITORY).unwrap() + control.comment_count(OTHER).unwrap()
    }

    fn touch(&self, control: &Control, names: &[String]) {
        for name in names {
            let (repository, number) = number(name);
            control.touch(repository, &[number]).unwrap();
        }
    }

    fn delete(&self, control: &Control, name: &str) {
        let (repository, number) = number(name);
        control.delete_issue(repository, number).unwrap();
    }

    fn move_away(&self, control: &Control, name: &str) -> bool {
        let (repository, number) = number(name);
        repository == REPOSITORY && control.transfer_issue(repository, number, OTHER).is_ok()
    }

    fn lengthen(&self, control: &Control, name: &str, bytes: usize) {
        let (repository, number) = number(name);
        let kind = FaultKind::LargeText { repository: repository.to_owned(), number, bytes };
        control.add_fault(FaultRule { matching: FaultMatch::default(), kind });
    }

    fn asks_items(&self, asked: &Asked) -> bool {
        asked.has("/issues?")
    }

    fn asks_details(&self, asked: &Asked) -> bool {
        asked.has("/timeline?")
    }

    fn asks_project(&self, asked: &Asked, project: &ProjectRef) -> bool {
        asked.has(&format!("/repos/{}", project.key))
    }

    fn asks_item(&self, asked: &Asked, item: &ItemAddress) -> bool {
        let (repository, number) = number(item.key.as_deref().unwrap());
        let path = asked.target.split('?').next().unwrap_or_default();
        let item = format!("/repos/{repository}/issues/{number}");
        path == item || path.starts_with(&format!("{item}/"))
    }

    fn limit(&self, asked: &mut Asked, items: u64) {
        asked.target = asked.target.replace("per_page=100", &format!("per_page={items}"));
    }

    fn rows<'v>(&self, body: &'v mut Value) -> Option<&'v mut Vec<Value>> {
        body.as_array_mut()
    }

    fn row_id(&self, row: &Value) -> Option<String> {
        row["id"].as_u64().map(|id| id.to_string())
    }

    fn essential(&self) -> &'static [&'static str] {
        &["/id", "/number", "/title", "/state", "/html_url", "/created_at", "/updated_at"]
    }

    fn put_unknown_words(&self, row: &mut Value) {
        row["state"] = json!("limbo");
        row["state_reason"] = json!("superseded");
        row["type"] = json!({"id": 1, "name": "Ritual", "color": "ultraviolet"});
        row["labels"] = json!([{"id": 1, "name": "priority: cosmic", "color": "none"}]);
        row["author_association"] = json!("ANCESTOR");
        row["user"] = json!({"id": 77, "login": "ghost-in-the-machine", "type": "Spirit"});
        row["active_lock_reason"] = json!("eclipse");
        if let Some(row) = row.as_object_mut() {
            row.remove("pull_request");
        }
    }

    fn unknown_words(&self) -> Words {
        (TypeNorm::Other, "Ritual".into(), StatusNorm::Unknown, "limbo".into(), PriorityNorm::None, None)
    }

    fn put_unknown_event(&self, body: &mut Value) -> bool {
        let event = json!({
            "id": 987_654_321, "event": "teleported", "actor": null, "created_at": "2026-11-21T09:00:00Z",
            "destination": {"planet": 4},
        });
        body.as_array_mut().is_some_and(|rows| {
            rows.push(event);
            true
        })
    }

    fn unknown_event(&self) -> &'static str {
        "teleported"
    }
}
