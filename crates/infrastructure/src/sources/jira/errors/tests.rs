use application::ports::SourceErrorKind as Kind;
use http::{HeaderName, HeaderValue};

use super::*;

const DATE: (&str, &str) = ("date", "Sat, 21 Nov 2026 09:58:20 GMT");

fn classify(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> SourceError {
    let headers = headers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
    from_answer(StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes(), "ENG-1")
}

#[test]
fn limits_say_how_long_to_wait() {
    for (headers, wait) in [
        (vec![("retry-after", "7")], 7),
        (vec![("retry-after", "7"), DATE, ("x-ratelimit-reset", "2026-11-21T10:00Z")], 7),
        (vec![DATE, ("retry-after", "Sat, 21 Nov 2026 09:59:20 GMT")], 60),
        // The reset has no seconds, and is in the time of the server.
        (vec![DATE, ("x-ratelimit-reset", "2026-11-21T10:00Z")], 101),
        (vec![DATE, ("x-ratelimit-reset", "2026-11-21T10:00:00Z")], 101),
        (vec![DATE, ("x-ratelimit-reset", "1795255200")], 60),
        (vec![DATE, ("x-ratelimit-reset", "2026-11-21T09:00Z")], 1),
        (vec![], 60),
    ] {
        let error = classify(429, &headers, "");
        assert_eq!(
            (error.kind, error.retry_after),
            (Kind::RateLimited, Some(Duration::from_secs(wait))),
            "{headers:?}"
        );
    }
    let quota = classify(429, &[("retry-after", "9"), ("ratelimit-reason", "jira-quota-tenant-based")], "");
    assert!(quota.message.contains("quota"), "{quota}");
}

#[test]
fn every_status_has_its_kind() {
    for (status, body, kind) in [
        (
            400,
            r#"{"errorMessages":["The value 'X' does not exist for the field 'project'."],"errors":{}}"#,
            Kind::Rejected,
        ),
        (401, r#"{"code":401,"message":"Unauthorized; scope does not match"}"#, Kind::Forbidden),
        (401, "<html>", Kind::Unauthorized),
        (403, r#"{"errorMessages":["no"]}"#, Kind::Forbidden),
        (404, r#"{"errorMessages":["Issue does not exist"],"errors":{}}"#, Kind::NotFound),
        (409, "", Kind::Conflict),
        (410, r#"{"errorMessages":["removed"]}"#, Kind::Gone),
        (413, "", Kind::Rejected),
        (302, "", Kind::Rejected),
        (408, "", Kind::Unavailable),
        (500, "<html>", Kind::Unavailable),
        (503, "", Kind::Unavailable),
    ] {
        let error = classify(status, &[], body);
        assert_eq!((error.kind, error.upstream_status), (kind, Some(status)));
        assert!(!error.message.contains('<'), "{error}");
    }
    assert_eq!(classify(503, &[("retry-after", "9")], "").retry_after, Some(Duration::from_secs(9)));
}

#[test]
fn what_jira_says_of_fields_is_passed_on() {
    let body = r#"{"errorMessages":["Bad"],"errors":{"summary":"is required","customfield_1":null}}"#;
    let error = classify(400, &[], body);
    assert!(error.message.contains("Bad") && error.message.contains("summary: is required"), "{error}");
    assert_eq!(Said::read(body.as_bytes()).fields.len(), 2);
    assert!(Said::read(b"[1]").line().is_none());
    assert!(Said::read(br#"{"errors":["odd"],"errorMessages":[7]}"#).line().is_none());
}

#[test]
fn a_captcha_is_about_the_credential() {
    let error = classify(403, &[("x-seraph-loginreason", "AUTHENTICATION_DENIED")], "");
    assert_eq!(error.kind, Kind::Unauthorized);
    assert!(error.message.contains("CAPTCHA"), "{error}");
    assert_eq!(classify(403, &[("x-seraph-loginreason", "OK")], "").kind, Kind::Forbidden);
}
