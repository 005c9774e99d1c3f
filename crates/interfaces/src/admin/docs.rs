//! `/docs`: the API as one page of HTML, made from the description.
//!
//! Not utoipa-scalar's: that page runs a script from a public CDN, on the origin where admins use their keys.

use std::fmt::Write as _;

use http::HeaderName;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use serde_json::{Map, Value};
use utoipa::openapi::OpenApi;

/// No script at all may run, and nothing is loaded from anywhere.
pub(super) const HEADERS: [(HeaderName, &str); 2] = [
    (CONTENT_TYPE, "text/html; charset=utf-8"),
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
];

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1d21;background:#fff}\
code,pre{font:13px ui-monospace,monospace}pre{overflow:auto;background:#f4f5f7;padding:.75rem;border-radius:.4rem}\
details{border:1px solid #d9dce1;border-radius:.4rem;margin:.4rem 0;padding:.5rem .8rem}summary{cursor:pointer}\
.method{display:inline-block;min-width:4.2rem;font-weight:600}table{border-collapse:collapse}td,th{text-align:left;padding:.15rem .9rem .15rem 0;vertical-align:top}\
@media(prefers-color-scheme:dark){body{color:#e6e8eb;background:#16181c}pre{background:#22252b}details{border-color:#3a3f47}a{color:#8ab4f8}}";

/// The page.
pub(super) fn page(description: &OpenApi) -> String {
    let description = serde_json::to_value(description).unwrap_or_default();
    let title = text(&description["info"]["title"]);
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title><style>{STYLE}</style><h1>{title}</h1><p>{}</p>\
         <p>Send <code>Authorization: Bearer &lt;API key&gt;</code>. For programs: <a href=\"/openapi.json\">openapi.json</a>.</p>",
        text(&description["info"]["description"]),
    );
    for tag in array(&description["tags"]) {
        let name = tag["name"].as_str().unwrap_or_default();
        let _ = write!(html, "<h2>{}</h2><p>{}</p>", escape(name), text(&tag["description"]));
        for (path, item) in object(&description["paths"]) {
            for (method, operation) in object(item) {
                if array(&operation["tags"]).iter().any(|tag| tag == name) {
                    write_operation(&mut html, path, method, operation);
                }
            }
        }
    }
    html.push_str("<h2>Shapes</h2>");
    for (name, schema) in object(&description["components"]["schemas"]) {
        let json = serde_json::to_string_pretty(schema).unwrap_or_default();
        let name = escape(name);
        let _ = write!(
            html,
            "<details id=\"{name}\"><summary><code>{name}</code></summary><pre>{}</pre></details>",
            escape(&json)
        );
    }
    html.push_str("</html>\n");
    html
}

fn write_operation(html: &mut String, path: &str, method: &str, operation: &Value) {
    let _ = write!(
        html,
        "<details><summary><span class=\"method\">{}</span> <code>{}</code></summary><p>{} {}</p>",
        escape(&method.to_uppercase()),
        escape(path),
        text(&operation["summary"]),
        text(&operation["description"]),
    );
    let parameters = array(&operation["parameters"]);
    if !parameters.is_empty() {
        html.push_str("<table><tr><th>Parameter<th>In<th>Meaning");
        for parameter in parameters {
            let _ = write!(
                html,
                "<tr><td><code>{}</code><td>{}<td>{}",
                text(&parameter["name"]),
                text(&parameter["in"]),
                text(&parameter["description"]),
            );
        }
        html.push_str("</table>");
    }
    if let Some(body) = shape(&operation["requestBody"]["content"]) {
        let _ = write!(html, "<p>Body: {body}</p>");
    }
    html.push_str("<table><tr><th>Answer<th>Meaning<th>Shape");
    for (status, response) in object(&operation["responses"]) {
        let _ = write!(
            html,
            "<tr><td><code>{}</code><td>{}<td>{}",
            escape(status),
            text(&response["description"]),
            shape(&response["content"]).unwrap_or_default(),
        );
    }
    html.push_str("</table></details>");
}

/// A link to the schema of the first content type.
fn shape(content: &Value) -> Option<String> {
    let (kind, media) = object(content).next()?;
    let name = media["schema"]["$ref"].as_str().and_then(|reference| reference.rsplit('/').next());
    Some(match name {
        Some(name) => format!("<a href=\"#{0}\"><code>{0}</code></a>", escape(name)),
        None => escape(kind),
    })
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn object(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn text(value: &Value) -> String {
    escape(value.as_str().unwrap_or_default())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
