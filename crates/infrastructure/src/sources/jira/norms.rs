//! What Jira's words mean, where an instance does not say otherwise.

use domain::{PriorityNorm, StatusNorm, TypeNorm};

use super::model::Named;

/// Resolutions that say that nothing was done: Jira's own and those commonly added.
const CANCELLED: [&str; 22] = [
    "won't do",
    "won't fix",
    "wont do",
    "wont fix",
    "will not do",
    "will not fix",
    "duplicate",
    "duplicated",
    "cannot reproduce",
    "can't reproduce",
    "not reproducible",
    "incomplete",
    "declined",
    "rejected",
    "invalid",
    "not a bug",
    "abandoned",
    "obsolete",
    "out of date",
    "cancelled",
    "canceled",
    "withdrawn",
];

/// By the key of the status category; a category of its own would be unknown.
pub(super) fn status(category: Option<&str>, resolution: Option<&str>) -> StatusNorm {
    match category {
        Some("new") => StatusNorm::Todo,
        Some("indeterminate") => StatusNorm::InProgress,
        Some("done") if resolution.is_some_and(is_cancelled) => StatusNorm::Cancelled,
        Some("done") => StatusNorm::Done,
        _ => StatusNorm::Unknown,
    }
}

/// Whether a resolution says that nothing was done.
pub(super) fn is_cancelled(resolution: &str) -> bool {
    let plain = resolution.trim().to_lowercase().replace('\u{2019}', "'");
    CANCELLED.contains(&plain.as_str())
}

/// By what the type says of its place, then by its name.
pub(super) fn item_type(issue_type: &Named) -> TypeNorm {
    let name = issue_type.name.as_deref().unwrap_or_default().to_lowercase();
    if issue_type.subtask == Some(true) || issue_type.hierarchy_level.is_some_and(|level| level < 0) {
        return TypeNorm::Subtask;
    }
    if issue_type.hierarchy_level.is_some_and(|level| level > 0) {
        return TypeNorm::Epic;
    }
    match name.as_str() {
        "epic" => TypeNorm::Epic,
        "story" | "user story" => TypeNorm::Story,
        "task" | "technical task" => TypeNorm::Task,
        "sub-task" | "subtask" => TypeNorm::Subtask,
        "bug" | "defect" => TypeNorm::Bug,
        "feature" | "new feature" | "improvement" | "enhancement" => TypeNorm::Feature,
        "milestone" => TypeNorm::Milestone,
        _ => TypeNorm::Other,
    }
}

/// Both of Jira's default scales, place by place, and the common words beside them.
pub(super) fn priority(name: Option<&str>) -> PriorityNorm {
    match name.unwrap_or_default().trim().to_lowercase().as_str() {
        "highest" | "blocker" | "urgent" | "immediate" => PriorityNorm::Urgent,
        "high" | "critical" => PriorityNorm::High,
        "medium" | "major" | "normal" => PriorityNorm::Normal,
        "low" | "lowest" | "minor" | "trivial" => PriorityNorm::Low,
        _ => PriorityNorm::None,
    }
}

/// What a link means to the item it is read on, by its words.
pub(super) fn link(words: &str) -> &'static str {
    let words = words.trim().to_lowercase();
    match words.as_str() {
        "blocks"
        | "is depended on by"
        | "is depended upon by"
        | "is required by"
        | "has to be done before" => "blocks",
        "is blocked by"
        | "blocked by"
        | "depends on"
        | "depends upon"
        | "requires"
        | "has to be done after" => "blocked_by",
        "relates to" | "relates" | "is related to" | "related to" => "relates",
        "duplicates" => "duplicates",
        "is parent of" | "is a parent of" | "is the parent of" | "parent of" | "contains" | "includes" => {
            "parent_of"
        }
        "is child of" | "is a child of" | "child of" | "is contained in" | "is included by"
        | "is part of" => "child_of",
        "mentions" => "mentions",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_goes_by_its_category_and_the_resolution_tells_what_was_given_up() {
        assert_eq!(status(Some("new"), Some("Duplicate")), StatusNorm::Todo);
        assert_eq!(status(Some("indeterminate"), None), StatusNorm::InProgress);
        assert_eq!(status(Some("done"), Some("Fixed")), StatusNorm::Done);
        assert_eq!(status(Some("done"), Some("Won\u{2019}t Do")), StatusNorm::Cancelled);
        assert_eq!(status(Some("undefined"), None), StatusNorm::Unknown);
        assert_eq!(status(Some("paused"), None), StatusNorm::Unknown);
        assert_eq!(status(None, None), StatusNorm::Unknown);
    }

    #[test]
    fn a_type_goes_by_its_place_before_its_name() {
        let named = |json: &str| item_type(&serde_json::from_str(json).unwrap());
        assert_eq!(named(r#"{"name":"Bug","subtask":true}"#), TypeNorm::Subtask);
        assert_eq!(named(r#"{"name":"Initiative","hierarchyLevel":2}"#), TypeNorm::Epic);
        assert_eq!(named(r#"{"name":"Bug","subtask":false,"hierarchyLevel":0}"#), TypeNorm::Bug);
        assert_eq!(named(r#"{"name":"\u4efb\u52a1"}"#), TypeNorm::Other);
        assert_eq!(named("{}"), TypeNorm::Other);
    }

    #[test]
    fn both_scales_of_priorities_are_read() {
        assert_eq!(priority(Some("Blocker")), PriorityNorm::Urgent);
        assert_eq!(priority(Some("Critical")), PriorityNorm::High);
        assert_eq!(priority(Some("Major")), PriorityNorm::Normal);
        assert_eq!(priority(Some("Lowest")), PriorityNorm::Low);
        assert_eq!(priority(Some("Whatever")), PriorityNorm::None);
        assert_eq!(priority(None), PriorityNorm::None);
    }
}
