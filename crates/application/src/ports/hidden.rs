use std::collections::BTreeSet;

/// A field of a tracker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldNames {
    /// Its id.
    pub id: String,
    /// Every other name it goes by: in screens, in searches, in the history.
    pub names: Vec<String>,
}

/// Fields that a tenant's policy hides, by every name they go by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HiddenFields(BTreeSet<String>);

impl HiddenFields {
    /// The fields of these ids or names. One that is not known is hidden by the name that it was given.
    pub fn new(hidden: &BTreeSet<String>, known: &[FieldNames]) -> Self {
        let hidden: BTreeSet<String> = hidden.iter().map(|name| folded(name)).collect();
        let ids: BTreeSet<String> = known.iter().map(|field| folded(&field.id)).collect();
        let mut all = hidden.clone();
        for field in known {
            let id = folded(&field.id);
            let names: Vec<String> = field.names.iter().map(|name| folded(name)).collect();
            if !hidden.contains(&id) && !names.iter().any(|name| hidden.contains(name)) {
                continue;
            }
            for name in names {
                // As answers show a field whose name is not the only one of its kind.
                all.insert(format!("{name} ({id})"));
                // A field that is called like another one's id must not take that with it.
                if !ids.contains(&name) {
                    all.insert(name);
                }
            }
            all.insert(id);
        }
        Self(all)
    }

    /// Whether nothing is hidden.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this is the id or a name of a hidden field.
    pub fn has(&self, name: &str) -> bool {
        !self.0.is_empty() && self.0.contains(&folded(name))
    }
}

fn folded(name: &str) -> String {
    name.trim().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_hidden_by_all_its_names_and_takes_no_other_with_it() {
        let field = |id: &str, names: &[&str]| FieldNames {
            id: id.to_owned(),
            names: names.iter().map(|&name| name.to_owned()).collect(),
        };
        let known = [
            field("customfield_7", &["Salary", "cf[7]"]),
            field("customfield_8", &["assignee"]),
            field("assignee", &["Assignee"]),
            field("customfield_9", &["Team"]),
        ];
        let hidden =
            |names: &[&str]| HiddenFields::new(&names.iter().map(|&name| name.to_owned()).collect(), &known);
        let by_name = hidden(&[" salary"]);
        for name in ["Salary", "customfield_7", "CF[7]", "salary (customfield_7)"] {
            assert!(by_name.has(name), "{name}");
        }
        assert!(!by_name.has("Team") && !by_name.has("assignee"));
        assert!(hidden(&["customfield_7"]).has("Salary"));
        let like_another = hidden(&["customfield_8"]);
        assert!(!like_another.has("assignee") && like_another.has("assignee (customfield_8)"));
        assert!(hidden(&["Unheard of"]).has("unheard OF") && hidden(&[]).is_empty());
    }
}
