//! Serves the simulated trackers from the command line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;
use patchbay_simulator::{
    Deployment, JiraLogin, JiraSite, Repository, Simulator, SimulatorConfig, TokenGrant, asana_workspace,
    devlake, generate, load, titanium,
};

/// Trackers' APIs (GitHub, Jira, Asana) with generated or real data, for demos, tests and benches.
///
/// GitHub's API is at / and, as on GitHub Enterprise, at /api/v3; Jira sites are at /jira/NAME, Asana at /api/1.0. Faults, requests seen and changes are steered at
/// /__control (POST /__control/faults {"match":{"path_contains":"/issues?"},"kind":{"rate_limited":{"retry_after_s":2}}}).
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Port on 127.0.0.1; 0 picks a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Serve the real repository bitcoin-core/gui from this directory (it holds `github/` and `derived/`)
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Serve a generated repository: name, number of issues and pull requests, seed. Repeatable
    #[arg(long, value_name = "OWNER/NAME:COUNT:SEED", value_parser = parse_generate)]
    generate: Vec<Generate>,
    /// Accept this token, for all or only these repositories. Repeatable; without any, every token is accepted
    #[arg(long, value_name = "TOKEN[=OWNER/NAME,...]", value_parser = parse_token)]
    token: Vec<TokenGrant>,
    /// Serve the real Jira data from this directory (it holds `jira/`): the Data Center site `titanium` and the Cloud site
    /// `devlake`
    #[arg(long, value_name = "DIR")]
    jira_data: Option<PathBuf>,
    /// Serve a generated Jira site with one project: site, `cloud` or `dc`, project key, number of issues, seed. Repeatable
    #[arg(long, value_name = "SITE:cloud|dc:KEY:COUNT:SEED", value_parser = parse_jira)]
    jira: Vec<GenerateJira>,
    /// Serve a generated Asana workspace: name, number of tasks without their subtasks, seed. Repeatable
    #[arg(long, value_name = "NAME:COUNT:SEED", value_parser = parse_asana)]
    asana: Vec<Generate>,
    /// Accept this token at all Jira sites: USER:TOKEN for basic, TOKEN for bearer. Repeatable; without any, every one
    #[arg(long, value_name = "[USER:]TOKEN")]
    jira_token: Vec<String>,
    /// Let every answer wait
    #[arg(long, default_value_t = 0)]
    latency_ms: u64,
    /// Write {"url"} here once everything answers
    #[arg(long, value_name = "PATH")]
    ready_file: Option<PathBuf>,
}

#[derive(Debug, Clone)]
struct Generate {
    full_name: String,
    count: usize,
    seed: u64,
}

#[derive(Debug, Clone)]
struct GenerateJira {
    site: String,
    deployment: Deployment,
    key: String,
    count: usize,
    seed: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let repositories = repositories(&options)?;
    for repository in &repositories {
        println!(
            "{}: {} issues, {} pull requests",
            repository.full_name(),
            repository.issue_count(),
            repository.pull_request_count()
        );
    }
    let sites = jira_sites(&options)?;
    let simulator = Simulator::start(SimulatorConfig {
        port: options.port,
        repositories,
        tokens: options.token,
        latency: Duration::from_millis(options.latency_ms),
    })
    .await?;
    for site in sites {
        println!("/jira/{}: {} issues (cloud id {})", site.name(), site.issue_count(), site.cloud_id());
        simulator.control().add_jira(site)?;
    }
    for Generate { full_name, count, seed } in &options.asana {
        let workspace = asana_workspace(full_name, *seed, *count);
        println!("Asana {full_name}: {} tasks", workspace.tasks.len());
        simulator.control().add_asana(workspace);
    }
    println!("Listening on {}", simulator.url());
    if let Some(path) = &options.ready_file {
        write_ready(path, &simulator.url())?;
    }
    stop_asked().await?;
    simulator.stop().await;
    Ok(())
}

fn repositories(options: &Options) -> anyhow::Result<Vec<Repository>> {
    let mut repositories = Vec::new();
    if let Some(directory) = &options.data {
        repositories.push(load::bitcoin_gui(directory)?);
    }
    for Generate { full_name, count, seed } in &options.generate {
        repositories.push(generate::repository(full_name, *seed, *count));
    }
    let others = options.jira.len() + options.asana.len();
    if repositories.is_empty() && others == 0 && options.jira_data.is_none() {
        bail!("nothing to serve: give --data, --generate, --jira, --jira-data or --asana");
    }
    Ok(repositories)
}

fn jira_sites(options: &Options) -> anyhow::Result<Vec<JiraSite>> {
    let mut sites = Vec::new();
    for one in &options.jira {
        sites.push(generate::jira(&one.site, one.deployment, &[(&one.key, one.seed, one.count)]));
    }
    if let Some(directory) = &options.jira_data {
        sites.push(titanium("titanium", directory)?);
        sites.push(devlake("devlake", directory)?);
    }
    let login = |text: &String| match text.split_once(':') {
        Some((user, token)) => JiraLogin::new(Some(user), token),
        None => JiraLogin::new(None, text),
    };
    let sign_in = |site: JiraSite| options.jira_token.iter().map(login).fold(site, JiraSite::with_login);
    Ok(sites.into_iter().map(sign_in).collect())
}

fn parse_jira(text: &str) -> anyhow::Result<GenerateJira> {
    let parts: Vec<&str> = text.split(':').collect();
    let [site, deployment, key, count, seed] = *parts else { bail!("expected SITE:cloud|dc:KEY:COUNT:SEED") };
    Ok(GenerateJira {
        site: site.to_owned(),
        deployment: match deployment {
            "cloud" => Deployment::Cloud,
            "dc" => Deployment::DataCenter,
            _ => bail!("{deployment:?} is neither cloud nor dc"),
        },
        key: key.to_owned(),
        count: count.parse().context("COUNT is not a number")?,
        seed: seed.parse().context("SEED is not a number")?,
    })
}

fn parse_generate(text: &str) -> anyhow::Result<Generate> {
    let generate = parse_asana(text)?;
    check_name(&generate.full_name)?;
    Ok(generate)
}

fn parse_asana(text: &str) -> anyhow::Result<Generate> {
    let parts: Vec<&str> = text.split(':').collect();
    let [full_name, count, seed] = *parts else { bail!("expected NAME:COUNT:SEED") };
    Ok(Generate {
        full_name: full_name.to_owned(),
        count: count.parse().context("COUNT is not a number")?,
        seed: seed.parse().context("SEED is not a number")?,
    })
}

fn parse_token(text: &str) -> anyhow::Result<TokenGrant> {
    let (token, names) = text.split_once('=').map_or((text, None), |(token, names)| (token, Some(names)));
    if token.is_empty() {
        bail!("the token is empty");
    }
    let repositories = names.map(|names| names.split(',').map(str::to_owned).collect::<Vec<_>>());
    repositories.iter().flatten().try_for_each(|name| check_name(name))?;
    Ok(TokenGrant { token: token.to_owned(), login: "patchbay-demo".to_owned(), repositories })
}

fn check_name(full_name: &str) -> anyhow::Result<()> {
    match full_name.split_once('/') {
        Some((owner, name)) if !owner.is_empty() && !name.is_empty() && !name.contains('/') => Ok(()),
        _ => bail!("{full_name:?} is not OWNER/NAME"),
    }
}

/// Whoever waits for the file sees all of it or nothing.
fn write_ready(path: &Path, url: &str) -> anyhow::Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    std::fs::write(&partial, serde_json::json!({"url": url}).to_string())
        .and_then(|()| std::fs::rename(&partial, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Ctrl-C, or on Unix also SIGTERM.
async fn stop_asked() -> anyhow::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted?,
            _ = terminate.recv() => {}
        }
        Ok(())
    }
    #[cfg(not(unix))]
    Ok(tokio::signal::ctrl_c().await?)
}
