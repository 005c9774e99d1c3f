//! A proxy in front of a simulated tracker: it hands on what is asked and what is answered, and lets a test change both.
//! So one case is written once for all sources, whatever their answers look like.

use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::response::Response;

use super::*;

/// What a client asks.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) method: Method,
    /// Path and query.
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Asked {
    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap_or_default()
    }

    pub(super) fn has(&self, text: &str) -> bool {
        self.target.contains(text)
    }
}

/// What it is answered.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn new(status: u16, kind: &'static str, body: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        Self { status: StatusCode::from_u16(status).unwrap(), headers, body: body.into() }
    }

    /// A refusal that every tracker's adapter can read the words of.
    pub(super) fn refusal(status: u16, said: &str) -> Self {
        let body = json!({"message": said, "errorMessages": [said], "errors": [{"message": said}]});
        Self::new(status, "application/json", body.to_string())
    }

    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        self
    }

    /// Changes the body where it is JSON.
    pub(super) fn edit(&mut self, change: impl FnOnce(&mut Value)) {
        if let Ok(mut value) = serde_json::from_slice(&self.body) {
            change(&mut value);
            self.body = value.to_string().into();
        }
    }
}

type Before = Box<dyn FnMut(&mut Asked) -> Option<Answer> + Send>;
type After = Box<dyn FnMut(&Asked, &mut Answer) + Send>;

#[derive(Default)]
struct Rules {
    before: Vec<Before>,
    after: Vec<After>,
    passed: usize,
}

struct Shared {
    upstream: String,
    client: EgressClient,
    rules: Mutex<Rules>,
}

impl Shared {
    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running proxy.
pub(super) struct Proxy {
    pub(super) url: String,
    shared: Arc<Shared>,
}

impl Proxy {
    pub(super) async fn to(upstream: String) -> Self {
        let policy = EgressPolicy::new(vec!["127.0.0.0/8".parse().unwrap()]);
        let client = EgressClient::new(policy).unwrap();
        let shared = Arc::new(Shared { upstream, client, rules: Mutex::default() });
        let url = serve(Router::new().fallback(pass).with_state(shared.clone())).await;
        Self { url, shared }
    }

    /// Looks at each request, in the order in which rules were made: changes it, or answers it in the tracker's place.
    pub(super) fn before(&self, rule: impl FnMut(&mut Asked) -> Option<Answer> + Send + 'static) {
        self.shared.rules().before.push(Box::new(rule));
    }

    /// Changes answers.
    pub(super) fn after(&self, rule: impl FnMut(&Asked, &mut Answer) + Send + 'static) {
        self.shared.rules().after.push(Box::new(rule));
    }

    /// Hands on everything as it is.
    pub(super) fn clear(&self) {
        *self.shared.rules() = Rules::default();
    }

    /// How many requests came since the rules were cleared last.
    pub(super) fn passed(&self) -> usize {
        self.shared.rules().passed
    }
}

async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let target = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let mut asked = Asked { method: parts.method, target, headers: parts.headers, body };
    let instead = {
        let mut rules = shared.rules();
        rules.passed += 1;
        rules.before.iter_mut().find_map(|rule| rule(&mut asked))
    };
    let mut answer = match instead {
        Some(answer) => answer,
        None => match forward(&shared, &asked).await {
            Ok(answer) => answer,
            Err(broken) => return broken,
        },
    };
    for rule in &mut shared.rules().after {
        rule(&asked, &mut answer);
    }
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    response
}

/// The tracker's answer. Where its connection breaks, so does the client's.
async fn forward(shared: &Shared, asked: &Asked) -> Result<Answer, Response> {
    let url = Url::parse(&format!("{}{}", shared.upstream, asked.target)).unwrap();
    let mut headers = asked.headers.clone();
    for name in
        [header::CONTENT_LENGTH, header::CONNECTION, header::ACCEPT_ENCODING, header::TRANSFER_ENCODING]
    {
        headers.remove(name);
    }
    let body = (!asked.body.is_empty()).then(|| asked.body.clone());
    match shared.client.send(asked.method.clone(), &url, headers, body).await {
        Ok(response) => {
            let mut headers = response.headers;
            for name in [header::CONTENT_LENGTH, header::CONNECTION, header::TRANSFER_ENCODING] {
                headers.remove(name);
            }
            Ok(Answer { status: response.status, headers, body: response.body })
        }
        Err(_) => {
            let broken = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
            let body = futures::stream::once(async move { Err::<Bytes, _>(broken) });
            Err(Response::new(Body::from_stream(body)))
        }
    }
}
