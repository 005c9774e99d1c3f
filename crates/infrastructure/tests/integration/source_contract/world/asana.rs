use super::*;

pub(super) struct Asana;

impl World for Asana {
    fn name(&self) -> &'static str {
        "asana"
    }

    fn source(&self) -> &'static str {
        "asana"
    }

    fn fill(&self, control: &Control) {
        control.add_asana(simulator::asana_workspace("Acme", 7, ITEMS));
    }

    fn base(&self) -> &'static str {
        "/api/1.0"
    }

    fn credential(&self) -> Credential {
        Credential::Token { token: TOKEN.to_owned().into() }
    }

    fn settings(&self) -> Value {
        json!({})
    }

    fn items(&self, control: &Control) -> BTreeMap<String, i64> {
        let tasks = control.asana().into_iter().flat_map(|workspace| workspace.tasks);
        tasks.map(|(gid, task)| (gid, task.modified_at)).collect()
    }

    fn comments(&self, control: &Control) -> usize {
        let tasks = control.asana().into_iter().flat_map(|workspace| workspace.tasks.into_values());
        tasks.flat_map(|task| task.stories).filter(|story| story["type"] == "comment").count()
    }

    fn item_name(&self, source_id: &str, _key: &str) -> String {
        source_id.to_owned()
    }

    fn touch(&self, control: &Control, names: &[String]) {
        names.iter().for_each(|gid| control.touch_asana(gid));
    }

    fn delete(&self, control: &Control, name: &str) {
        control.delete_asana(name).unwrap();
    }

    fn move_away(&self, control: &Control, name: &str) -> bool {
        let workspace = control.asana().remove(0);
        let [(home, _)] = workspace.tasks[name].memberships.as_slice() else { return false };
        let other = workspace.projects.iter().find(|project| project.gid != *home).unwrap();
        control.move_asana(name, &other.sections[0].0, &workspace.users[0].gid).unwrap();
        control.remove_asana(name, home).unwrap();
        true
    }

    fn lengthen(&self, control: &Control, name: &str, bytes: usize) {
        let text = "A line of a log that somebody pasted as a whole. ".repeat(bytes / 49 + 1);
        control.set_asana_notes(name, format!("<body>{text}</body>")).unwrap();
    }

    fn asks_items(&self, asked: &Asked) -> bool {
        asked.has("/tasks?project=")
    }

    fn asks_details(&self, asked: &Asked) -> bool {
        asked.has("/stories?")
    }

    fn asks_project(&self, asked: &Asked, project: &ProjectRef) -> bool {
        let gid = &project.source_id;
        ["/projects/", "project=", "resource="].iter().any(|before| asked.has(&format!("{before}{gid}")))
    }

    fn asks_item(&self, asked: &Asked, item: &ItemAddress) -> bool {
        asked.has(&format!("/tasks/{}", item.source_id.as_deref().unwrap()))
    }

    fn limit(&self, asked: &mut Asked, items: u64) {
        // There are four projects, and each is to have many pages.
        asked.target = asked.target.replace("limit=100", &format!("limit={}", items / 4));
    }

    fn rows<'v>(&self, body: &'v mut Value) -> Option<&'v mut Vec<Value>> {
        body.get_mut("data")?.as_array_mut()
    }

    fn row_id(&self, row: &Value) -> Option<String> {
        row["gid"].as_str().map(str::to_owned)
    }

    fn essential(&self) -> &'static [&'static str] {
        &["/gid", "/created_at", "/modified_at"]
    }

    fn put_unknown_words(&self, row: &mut Value) {
        row["resource_subtype"] = json!("ritual");
        row["approval_status"] = json!("transcended");
        row["parent"] = Value::Null;
        row["custom_type"] = Value::Null;
        row["custom_type_status_option"] = json!({"gid": "98", "name": "Limbo"});
        row["completed"] = json!(false);
        row["custom_fields"] = json!([
            {"gid": "97", "name": "Aura", "resource_subtype": "hologram", "display_value": "Violet"},
            {"gid": "96", "name": "Priority", "resource_subtype": "enum",
                "enum_value": {"gid": "95", "name": "Cosmic"}},
        ]);
    }

    fn unknown_words(&self) -> Words {
        (
            TypeNorm::Other,
            "ritual".into(),
            StatusNorm::Todo,
            "Limbo".into(),
            PriorityNorm::None,
            Some("Cosmic".into()),
        )
    }

    fn put_unknown_event(&self, body: &mut Value) -> bool {
        let story = json!({
            "gid": "987654321", "resource_type": "story", "resource_subtype": "teleported", "type": "system",
            "created_at": "2026-11-21T09:00:00.000Z", "created_by": null, "text": "teleported this task to Mars",
        });
        self.rows(body).is_some_and(|rows| {
            rows.push(story);
            true
        })
    }

    fn unknown_event(&self) -> &'static str {
        "teleported"
    }
}
