//! Names and recording of what HTTP servers count. Labels never name a tenant, an id or a text of a user.

use std::time::Duration;

use http::Method;
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, histogram};

/// Requests by server, method, route template and status.
pub const HTTP_REQUESTS: &str = "patchbay_http_requests_total";

/// Seconds until the answer began, by server, method, route template and status.
pub const HTTP_DURATION: &str = "patchbay_http_request_duration_seconds";

/// Credentials checked, by kind and outcome.
pub const AUTH_DECISIONS: &str = "patchbay_auth_decisions_total";

/// Sign-ins with a browser, by outcome.
pub const SIGN_INS: &str = "patchbay_sign_ins_total";

/// Webhook deliveries by source and what became of them.
pub const WEBHOOK_DELIVERIES: &str = "webhook_deliveries_total";

/// Seconds since the last success of the instance that waits longest, by source.
pub const SYNC_LAG: &str = "sync_lag_seconds";

/// Issues that live reads found, by what became of the synced copy.
pub const LIVE_READ_ITEMS: &str = "live_read_items_total";

/// Bounds for [`HTTP_DURATION`], in seconds; to be given to the Prometheus recorder.
pub const DURATION_BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Tells the recorder what the names mean. To be called once after it is installed.
pub fn describe() {
    describe_counter!(HTTP_REQUESTS, "HTTP requests answered");
    describe_counter!(AUTH_DECISIONS, "Keys, access tokens and sessions that were checked");
    describe_counter!(SIGN_INS, "Sign-ins with a browser that came back from the identity provider");
    describe_counter!(WEBHOOK_DELIVERIES, "Webhook deliveries that came in");
    describe_gauge!(
        SYNC_LAG,
        Unit::Seconds,
        "Time since the last successful sync of the instance that waits longest"
    );
    describe_counter!(
        LIVE_READ_ITEMS,
        "Issues that live reads found: stored, current, left to the next sync, dropped as too many at once"
    );
    describe_histogram!(HTTP_DURATION, Unit::Seconds, "Time until the answer to an HTTP request began");
}

/// The method as a label: what is not a method of ours is one label, so that callers cannot make up new ones.
pub(crate) fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

pub(crate) fn record(server: &'static str, method: &'static str, route: &str, status: u16, took: Duration) {
    let labels = [
        ("server", server.to_owned()),
        ("method", method.to_owned()),
        ("route", route.to_owned()),
        ("status", status.to_string()),
    ];
    counter!(HTTP_REQUESTS, &labels).increment(1);
    histogram!(HTTP_DURATION, &labels).record(took.as_secs_f64());
}
