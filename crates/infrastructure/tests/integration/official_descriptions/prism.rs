//! Stoplight Prism between an adapter and its simulated tracker: it judges every request by the tracker's own
//! description. What it says is read from the header `sl-violations`, so that one violation hides no other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

const MAX_BODY: usize = 64 * 1024 * 1024;

/// A description, and the calls it is for: those whose path begins so.
pub(crate) struct Description<'a> {
    pub(crate) file: &'static str,
    pub(crate) paths: &'static str,
    /// What stands before the paths of the description.
    pub(crate) base: &'a str,
}

/// Where Prism and the descriptions are; `None`, with a word about it, where one of them is not.
pub(crate) fn programs() -> Option<(PathBuf, PathBuf, PathBuf)> {
    let specs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/specs");
    if !specs.is_dir() {
        println!("skipped: the trackers' descriptions are not beside the repository");
        return None;
    }
    let node = std::env::var_os("PATCHBAY_TEST_NODE").map(PathBuf::from);
    let prism = std::env::var_os("PATCHBAY_TEST_PRISM_DIR").map(PathBuf::from);
    let script = prism.map(|folder| folder.join("node_modules/@stoplight/prism-cli/dist/index.js"));
    let (Some(node), Some(script)) = (node, script.filter(|script| script.is_file())) else {
        println!("skipped: Prism is not installed; `cargo xtask test` installs it");
        return None;
    };
    Some((node, script, specs))
}

/// What was found: violations of requests, of answers, and how many calls there were.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) calls: usize,
    pub(crate) judged: usize,
    pub(crate) requests: BTreeSet<String>,
    pub(crate) answers: BTreeMap<String, usize>,
}

/// The judge: adapters talk to [`Judge::url`].
pub(crate) struct Judge {
    url: String,
    shared: Arc<Shared>,
    _children: Vec<Child>,
}

struct Shared {
    /// By the longest beginning of the path: the beginning that is cut off, and Prism's address.
    routes: Vec<(String, String, String)>,
    tracker: String,
    own: String,
    client: reqwest::Client,
    findings: Mutex<Findings>,
}

impl Judge {
    pub(crate) async fn start(tracker: &str, descriptions: &[Description<'_>]) -> Self {
        let (node, script, specs) = programs().unwrap();
        let (mut children, mut routes) = (Vec::new(), Vec::new());
        for description in descriptions {
            let mut child = Command::new(&node)
                .arg(&script)
                .args(["proxy"])
                .arg(specs.join(description.file))
                .arg(format!("{tracker}{}", description.base))
                .args(["--host", "127.0.0.1", "--port", "0"])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let address = loop {
                let line = lines.next_line().await.unwrap().expect("Prism ended before it listened");
                if let Some((_, address)) = line.split_once("listening on ") {
                    break address.trim().to_owned();
                }
            };
            // It goes on talking, and would end if nobody listened.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            children.push(child);
            routes.push((
                format!("{}{}", description.base, description.paths),
                description.base.to_owned(),
                address,
            ));
        }
        routes.sort_by_key(|route| std::cmp::Reverse(route.0.len()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = format!("http://{}", listener.local_addr().unwrap());
        let _ = rustls::crypto::ring::default_provider().install_default();
        #[expect(clippy::disallowed_methods, reason = "this is the judge, not the product")]
        let client =
            reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_gzip().build().unwrap();
        let shared = Shared {
            routes,
            tracker: tracker.to_owned(),
            own: own.clone(),
            client,
            findings: Mutex::default(),
        };
        let shared = Arc::new(shared);
        let app = Router::new().fallback(pass).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url: own, shared, _children: children }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn findings(&self) -> Findings {
        std::mem::take(&mut *self.shared.findings.lock().unwrap())
    }
}

/// One call: to Prism, and straight to the tracker where no description has its path.
async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, MAX_BODY).await.unwrap();
    let route = shared.routes.iter().find(|route| parts.uri.path().starts_with(&route.0));
    shared.findings.lock().unwrap().calls += 1;
    if let Some((_, base, prism)) = route {
        let answer = forward(&shared, prism, base, &parts.method, &parts.uri, &parts.headers, &body).await;
        let (status, headers, text) = answer;
        let told = serde_json::from_slice::<Value>(&text).unwrap_or_default();
        let problem = told["type"].as_str().unwrap_or_default();
        if !problem.contains("stoplight.io") {
            note(&shared, &parts.method, &parts.uri, headers.get("sl-violations"));
            return answered(&shared, status, &headers, &text);
        }
        let place = place(&parts.method, &parts.uri);
        let detail = told["detail"].as_str().unwrap_or_default();
        shared.findings.lock().unwrap().requests.insert(format!("{place}: {}: {detail}", told["title"]));
    } else {
        let place = place(&parts.method, &parts.uri);
        shared.findings.lock().unwrap().requests.insert(format!("{place}: in no description"));
    }
    let tracker = shared.tracker.clone();
    let (status, headers, text) =
        forward(&shared, &tracker, "", &parts.method, &parts.uri, &parts.headers, &body).await;
    answered(&shared, status, &headers, &text)
}

async fn forward(
    shared: &Shared,
    to: &str,
    base: &str,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: &Bytes,
) -> (StatusCode, HeaderMap, Bytes) {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let path = path.strip_prefix(base).unwrap_or(path);
    let mut headers = headers.clone();
    for name in [header::HOST, header::CONTENT_LENGTH, header::ACCEPT_ENCODING, header::CONNECTION] {
        headers.remove(name);
    }
    let call =
        shared.client.request(method.clone(), format!("{to}{path}")).headers(headers).body(body.clone());
    let answer = call.send().await.unwrap();
    (answer.status(), answer.headers().clone(), answer.bytes().await.unwrap())
}

/// An answer whose links lead through the judge again.
fn answered(shared: &Shared, status: StatusCode, headers: &HeaderMap, body: &Bytes) -> Response {
    let body = String::from_utf8_lossy(body).replace(&shared.tracker, &shared.own);
    let mut answer = (status, Body::from(body)).into_response();
    for (name, value) in headers {
        let skipped = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION];
        if skipped.contains(name) || *name == HeaderName::from_static("sl-violations") {
            continue;
        }
        let told = String::from_utf8_lossy(value.as_bytes()).replace(&shared.tracker, &shared.own);
        if let Ok(told) = told.parse() {
            answer.headers_mut().append(name, told);
        }
    }
    answer
}

fn note(shared: &Shared, method: &Method, uri: &Uri, violations: Option<&axum::http::HeaderValue>) {
    let mut findings = shared.findings.lock().unwrap();
    findings.judged += 1;
    let told = violations.and_then(|told| serde_json::from_slice::<Value>(told.as_bytes()).ok());
    for violation in told.as_ref().and_then(Value::as_array).into_iter().flatten() {
        let location: Vec<String> =
            violation["location"].as_array().into_iter().flatten().map(|part| plain(&text(part))).collect();
        let said = format!(
            "{}: {}: {}",
            place(method, uri),
            location.join("."),
            violation["message"].as_str().unwrap_or_default()
        );
        if location.first().is_some_and(|part| part == "request") {
            findings.requests.insert(said);
        } else {
            *findings.answers.entry(said).or_default() += 1;
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A call without what differs from one call to the next.
fn place(method: &Method, uri: &Uri) -> String {
    let parts: Vec<String> = uri.path().split('/').map(plain).collect();
    format!("{method} {}", parts.join("/"))
}

/// `{}` for ids and keys.
fn plain(part: &str) -> String {
    let is_version = matches!(part, "1.0" | "3" | "2");
    if part.bytes().any(|byte| byte.is_ascii_digit()) && !is_version {
        "{}".to_owned()
    } else {
        part.to_owned()
    }
}
