//! A real authorization server as a process, and a browser that signs in there.

use std::collections::BTreeMap;
use std::process::Stdio;

use anyhow::{Context, bail, ensure};
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Method, Response, Url};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::{Api, Started};

/// The cookie of a session.
const SESSION: &str = "__Host-patchbay";

/// npm `oidc-provider`. Ends when dropped.
#[derive(Debug)]
pub struct IdentityServer {
    _child: Child,
    /// Its issuer.
    pub issuer: String,
}

impl IdentityServer {
    /// Starts one on a free port.
    pub async fn start() -> anyhow::Result<Self> {
        let folder = std::path::PathBuf::from(crate::setting("PATCHBAY_TEST_OIDC_PROVIDER_DIR")?);
        let mut child = Command::new(crate::setting("PATCHBAY_TEST_NODE")?)
            .arg(folder.join("serve.mjs"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        while let Some(line) = lines.next_line().await? {
            if let Ok(told) = serde_json::from_str::<Value>(&line) {
                let issuer = told["issuer"].as_str().context("no issuer")?.to_owned();
                // It goes on talking, and would end if nobody listened.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return Ok(Self { _child: child, issuer });
            }
        }
        bail!("the authorization server did not start");
    }

    /// Settings of a Patchbay that people sign in to with it.
    pub fn settings(&self) -> [(&str, &str); 3] {
        [
            ("PATCHBAY_OIDC_ISSUER", &self.issuer),
            ("PATCHBAY_OIDC_CLIENT_ID", "patchbay"),
            ("PATCHBAY_OIDC_CLIENT_SECRET", "a-secret-that-only-tests-know-0123456789"),
        ]
    }
}

/// A browser with one jar of cookies, as all of it is on localhost.
#[derive(Debug, Clone)]
pub struct Browser {
    http: reqwest::Client,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    /// A browser without a cookie.
    #[expect(clippy::disallowed_methods, reason = "the tests are the client, not the product")]
    pub fn new() -> anyhow::Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
        Ok(Self { http, cookies: BTreeMap::new() })
    }

    /// A browser with a cookie that was kept elsewhere.
    pub fn with_cookie(name: &str, value: &str) -> anyhow::Result<Self> {
        let mut browser = Self::new()?;
        browser.cookies.insert(name.to_owned(), value.to_owned());
        Ok(browser)
    }

    /// A cookie's value.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.get(name).map(String::as_str)
    }

    /// One request, as a page of `url`'s own origin sends it.
    pub async fn send(
        &mut self,
        method: Method,
        url: &Url,
        csrf: Option<&str>,
        json: Option<&Value>,
    ) -> anyhow::Result<(u16, Value)> {
        let mut request = self.request(method, url).header("sec-fetch-site", "same-origin");
        if let Some(csrf) = csrf {
            request =
                request.header("origin", url.origin().ascii_serialization()).header("x-csrf-token", csrf);
        }
        if let Some(json) = json {
            request = request.json(json);
        }
        let response = request.send().await?;
        self.keep(&response);
        let status = response.status().as_u16();
        Ok((status, serde_json::from_slice(&response.bytes().await?).unwrap_or_default()))
    }

    /// Follows redirects from `url` and fills the pages of the authorization server in, as `name`, until one leads to
    /// `until`. That address.
    pub async fn sign_in(&mut self, url: &Url, name: &str, until: &str) -> anyhow::Result<Url> {
        let mut response = self.request(Method::GET, url).send().await?;
        for _ in 0..30 {
            self.keep(&response);
            let here = response.url().clone();
            if let Some(to) = response.headers().get(LOCATION) {
                let to = here.join(to.to_str()?)?;
                if to.path() == until {
                    return Ok(to);
                }
                response = self.request(Method::GET, &to).send().await?;
                continue;
            }
            let status = response.status();
            let page = response.text().await?;
            ensure!(status.is_success(), "{here} answers with {status}: {page}");
            let form = match attribute(&page, "name=\"prompt\"", "value").as_deref() {
                Some("login") => format!("prompt=login&login={name}&password=x"),
                Some("consent") => "prompt=consent".to_owned(),
                other => bail!("{here} asks for {other:?}: {page}"),
            };
            let to = here.join(&attribute(&page, "<form", "action").context("a form without an action")?)?;
            let post = self.request(Method::POST, &to);
            let post = post.header("content-type", "application/x-www-form-urlencoded").body(form);
            response = post.send().await?;
        }
        bail!("the sign-in at {url} did not end");
    }

    fn request(&self, method: Method, url: &Url) -> reqwest::RequestBuilder {
        let jar: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        self.http.request(method, url.clone()).header(COOKIE, jar.join("; "))
    }

    fn keep(&mut self, response: &Response) {
        for line in response.headers().get_all(SET_COOKIE).iter().filter_map(|line| line.to_str().ok()) {
            let pair = line.split(';').next().unwrap_or_default();
            let Some((name, value)) = pair.split_once('=') else { continue };
            match value {
                "" => self.cookies.remove(name),
                value => self.cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
    }
}

/// Signs a person in at the admin server with a browser and an invitation; what they can do there.
pub async fn signed_in(
    running: &Started,
    identity: &IdentityServer,
    name: &str,
    invitation: &str,
) -> anyhow::Result<Api> {
    let mut admin: Url = running.admin_url.as_deref().context("the admin part does not run")?.parse()?;
    // The name that the provider sends browsers back to.
    admin.set_host(Some("localhost"))?;
    let mut browser = Browser::new()?;
    let login = admin.join(&format!("/auth/login?invitation={invitation}"))?;
    let back = browser.sign_in(&login, name, "/auth/callback").await?;
    let (status, problem) = browser.send(Method::GET, &back, None, None).await?;
    ensure!(status == 303, "{name} was not signed in by {}: {status} {problem}", identity.issuer);
    let (_, me) = browser.send(Method::GET, &admin.join("/api/v1/me")?, None, None).await?;
    let csrf_token = me["session"]["csrf_token"].as_str().with_context(|| format!("no session: {me}"))?;
    let cookie = browser.cookie(SESSION).context("no cookie")?;
    Api::by_session(
        &admin.origin().ascii_serialization(),
        format!("{SESSION}={cookie}"),
        csrf_token.to_owned(),
    )
}

/// The value of an attribute of the tag that has `mark` in it.
fn attribute(page: &str, mark: &str, name: &str) -> Option<String> {
    let at = page.find(mark)?;
    let begin = page[..=at].rfind('<')?;
    let tag = &page[begin..begin + page[begin..].find('>')?];
    let value = tag.split_once(&format!("{name}=\""))?.1.split_once('"')?.0;
    Some(value.replace("&amp;", "&"))
}
