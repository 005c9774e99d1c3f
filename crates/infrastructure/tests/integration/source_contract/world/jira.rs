use simulator::{Deployment, JiraLogin};

use super::*;

pub(super) struct Jira(pub(super) Deployment);

impl Jira {
    fn is_cloud(&self) -> bool {
        self.0 == Deployment::Cloud
    }
}

impl World for Jira {
    fn name(&self) -> &'static str {
        if self.is_cloud() { "jira cloud" } else { "jira data center" }
    }

    fn source(&self) -> &'static str {
        "jira"
    }

    fn fill(&self, control: &Control) {
        let login = JiraLogin::new(self.is_cloud().then_some("ann@example.com"), TOKEN);
        let site = simulator::generate::jira("acme", self.0, &[("ENG", 7, ITEMS), ("OPS", 8, 20)]);
        control.add_jira(site.with_login(login)).unwrap();
    }

    fn base(&self) -> &'static str {
        "/jira/acme"
    }

    fn credential(&self) -> Credential {
        if self.is_cloud() {
            Credential::Basic { email: "ann@example.com".into(), token: TOKEN.to_owned().into() }
        } else {
            Credential::Pat { token: TOKEN.to_owned().into() }
        }
    }

    fn settings(&self) -> Value {
        json!({"projects": ["ENG", "OPS"]})
    }

    fn items(&self, control: &Control) -> BTreeMap<String, i64> {
        control.with_jira("acme", |site| site.issue_times()).unwrap()
    }

    fn comments(&self, control: &Control) -> usize {
        control.with_jira("acme", |site| site.comment_count()).unwrap()
    }

    fn touch(&self, control: &Control, names: &[String]) {
        control.with_jira("acme", |site| site.touch_issues(names)).unwrap().unwrap();
    }

    fn delete(&self, control: &Control, name: &str) {
        control.with_jira("acme", |site| site.remove_issue(name)).unwrap().unwrap();
    }

    fn move_away(&self, control: &Control, name: &str) -> bool {
        name.starts_with("ENG-")
            && control.with_jira("acme", |site| site.move_to_project(name, "OPS")).unwrap().is_ok()
    }

    fn lengthen(&self, control: &Control, name: &str, bytes: usize) {
        let (project, number) = name.rsplit_once('-').unwrap();
        let (repository, number) = (project.to_owned(), number.parse().unwrap());
        let kind = FaultKind::LargeText { repository, number, bytes };
        control.add_fault(FaultRule { matching: FaultMatch::default(), kind });
    }

    fn asks_items(&self, asked: &Asked) -> bool {
        let path = if self.is_cloud() { "/rest/api/3/search/jql" } else { "/rest/api/2/search" };
        asked.target.ends_with(path)
            && asked.text().contains("project = ")
            && !asked.text().contains("\"maxResults\":0")
    }

    fn asks_details(&self, asked: &Asked) -> bool {
        asked.has("/changelog/bulkfetch") || asked.text().contains("issue in (")
    }

    fn asks_project(&self, asked: &Asked, project: &ProjectRef) -> bool {
        asked.text().contains(&format!("project = {} ", project.source_id))
            || asked.target.ends_with(&format!("/project/{}", project.source_id))
    }

    fn asks_item(&self, asked: &Asked, item: &ItemAddress) -> bool {
        let path = asked.target.split('?').next().unwrap_or_default();
        [&item.source_id, &item.key]
            .into_iter()
            .flatten()
            .any(|name| path.ends_with(&format!("/issue/{name}")))
    }

    fn limit(&self, asked: &mut Asked, items: u64) {
        let mut body: Value = serde_json::from_slice(&asked.body).unwrap();
        body["maxResults"] = json!(items);
        asked.body = body.to_string().into();
    }

    fn rows<'v>(&self, body: &'v mut Value) -> Option<&'v mut Vec<Value>> {
        body.get_mut("issues")?.as_array_mut()
    }

    fn row_id(&self, row: &Value) -> Option<String> {
        row["id"].as_str().map(str::to_owned)
    }

    fn essential(&self) -> &'static [&'static str] {
        &[
            "/id",
            "/key",
            "/fields",
            "/fields/project",
            "/fields/project/id",
            "/fields/project/key",
            "/fields/created",
            "/fields/updated",
        ]
    }

    fn put_unknown_words(&self, row: &mut Value) {
        let fields = &mut row["fields"];
        fields["status"] = json!({
            "id": "99", "name": "Limbo", "statusCategory": {"id": 99, "key": "limbo", "name": "Limbo"},
        });
        fields["issuetype"] = json!({"id": "99", "name": "Ritual", "subtask": false, "hierarchyLevel": 0});
        fields["priority"] = json!({"id": "99", "name": "Cosmic"});
        fields["resolution"] = json!({"id": "99", "name": "Superseded by fate"});
        fields["issuelinks"] = json!([{
            "id": "99", "type": {"id": "99", "name": "Haunts", "inward": "is haunted by", "outward": "haunts"},
            "outwardIssue": {"id": "98", "key": "ENG-98"},
        }]);
        fields["assignee"]["accountType"] = json!("spirit");
    }

    fn unknown_words(&self) -> Words {
        (
            TypeNorm::Other,
            "Ritual".into(),
            StatusNorm::Unknown,
            "Limbo".into(),
            PriorityNorm::None,
            Some("Cosmic".into()),
        )
    }

    fn put_unknown_event(&self, body: &mut Value) -> bool {
        let items = json!([
            {"field": "Aura", "fieldId": "aura", "fieldtype": "spectral", "from": null, "fromString": null,
                "to": "violet", "toString": "Violet"},
            {"field": "status", "fieldId": "status", "fieldtype": "jira", "from": "98", "fromString": "Nowhere",
                "to": "99", "toString": "Limbo"},
        ]);
        let history = json!({"id": "987654321", "created": "2026-11-21T09:00:00.000+0000", "items": items});
        let cloud = body.pointer_mut("/issueChangeLogs/0/changeHistories");
        let list = if cloud.is_some() { cloud } else { body.pointer_mut("/issues/0/changelog/histories") };
        list.and_then(Value::as_array_mut).is_some_and(|rows| {
            rows.push(history);
            true
        })
    }

    fn unknown_event(&self) -> &'static str {
        "Aura"
    }
}
