//! `patchbay template check`, as whoever writes a template and CI run it.

use std::path::PathBuf;

use patchbay_e2e::Patchbay;
use serde_json::{Value, json};
use tempfile::TempDir;

const HEADER: &str = "/*\ntitle = 'T'\ndescription = 'D'\n*/\n";

/// Runs the command; its exit code, standard output and standard error.
async fn check(
    patchbay: &Patchbay,
    args: &[&str],
    settings: &[(&str, &str)],
) -> (Option<i32>, String, String) {
    let args: Vec<&str> = ["template", "check"].iter().chain(args).copied().collect();
    let output = patchbay.spawn(&args, settings).unwrap().wait_with_output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn template_files_are_proved_and_what_is_wrong_is_shown_by_line_and_column() {
    let patchbay = Patchbay::install().await.unwrap();
    let folder = TempDir::new().unwrap();
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let good = file(
        "open_items.sql",
        format!("{HEADER}select w.source_key, w.updated_at from work_items w where w.tenant_id = $1"),
    );
    let header =
        file("header.sql", "/*\ntitle = 'T'\ndescription = 'D'\nmax_limit = 'many'\n*/ select 1".into());
    let parser = file("parser.sql", format!("{HEADER}selec 1"));
    let gate = file(
        "gate.sql",
        format!("{HEADER}select w.title as a,\n  pg_sleep(1) as b\nfrom work_items w where w.tenant_id = $1"),
    );
    let column = file(
        "column.sql",
        format!("{HEADER}select w.title as a\nfrom work_items w\nwhere w.tenant_id = $1 and w.day > now()"),
    );
    let missing = folder.path().join("missing.sql").display().to_string();

    let (code, out, err) = check(&patchbay, &[&good], &[]).await;
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.starts_with(&format!("{good}: ok, version ")), "{out}");
    assert!(
        out.contains("columns: source_key text, updated_at timestamp") && out.contains("cost: "),
        "{out}"
    );

    let (code, out, err) = check(&patchbay, &[&good, &header, &parser, &gate, &column, &missing], &[]).await;
    assert_eq!(code, Some(1), "{out}{err}");
    for (file, place, words) in [
        (&header, ":4:13: ", "header"),
        (&parser, ":5:1: ", "is not SQL"),
        (&gate, ":6:3: ", "pg_sleep"),
        (&column, ":7:28: ", "w.day does not exist"),
        (&missing, ": ", "cannot be read"),
    ] {
        let found =
            out.lines().any(|line| line.starts_with(&format!("{file}{place}")) && line.contains(words));
        assert!(found, "{file}{place} … {words} is missing in:\n{out}");
    }

    // For programs; and without a database, which knows neither columns nor their types.
    let (code, out, _) = check(&patchbay, &["--json", &good, &gate], &[]).await;
    assert_eq!(code, Some(1));
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["ok"], &lines[0]["name"]), (&json!(true), &json!("open_items")), "{out}");
    assert_eq!(lines[0]["columns"][1], json!({"name": "updated_at", "type": "timestamp"}));
    assert!(lines[0]["cost"].is_number() && lines[0]["params"]["properties"]["limit"].is_object(), "{out}");
    assert_eq!((&lines[1]["ok"], &lines[1]["findings"][0]["line"]), (&json!(false), &json!(6)), "{out}");
    assert_eq!(lines[1]["findings"][0]["column"], 3);
    let nowhere = [("PATCHBAY_DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")];
    let (code, out, err) = check(&patchbay, &["--without-database", &good, &column], &nowhere).await;
    assert_eq!(code, Some(0), "{out}{err}");

    // Not checked is not the same as refused.
    let (code, out, err) = check(&patchbay, &[&good], &nowhere).await;
    assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
    assert!(err.contains("were not checked"), "{err}");
    assert_eq!(check(&patchbay, &[], &[]).await.0, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_shipped_template_passes_its_own_check() {
    let patchbay = Patchbay::install().await.unwrap();
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../sql/templates");
    let files: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path().display().to_string()).collect();
    assert!(files.len() >= 14, "{files:?}");
    let args: Vec<&str> = files.iter().map(String::as_str).collect();
    let (code, out, err) = check(&patchbay, &args, &[]).await;
    assert_eq!(code, Some(0), "{out}{err}");
    assert_eq!(out.lines().filter(|line| line.contains(": ok, version ")).count(), files.len(), "{out}");
}
