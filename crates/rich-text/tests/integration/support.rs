//! What the tests read from beside the repository.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde_json::Value;

/// A folder beside the repository, or `None` after saying that it is absent.
pub(crate) fn shared(folder: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared").join(folder);
    if path.is_dir() {
        return Some(path);
    }
    eprintln!("skipped: {} is absent", path.display());
    None
}

/// The objects of a compressed file with one on each line.
pub(crate) fn lines(file: &Path) -> impl Iterator<Item = Value> {
    let file = std::fs::File::open(file).unwrap();
    let lines = BufReader::new(flate2::read::GzDecoder::new(file)).lines();
    lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap())
}

/// The official schema of documents.
pub(crate) struct Schema(jsonschema::Validator);

impl Schema {
    pub(crate) fn load() -> Option<Self> {
        let text =
            std::fs::read_to_string(shared("specs")?.join("atlassian-document-format.schema.json")).unwrap();
        let schema: Value = serde_json::from_str(&text).unwrap();
        Some(Self(jsonschema::validator_for(&schema).unwrap()))
    }

    pub(crate) fn assert_valid(&self, document: &Value) {
        if let Err(error) = self.0.validate(document) {
            panic!(
                "{} at {}: {document:#}",
                error.to_string().chars().take(300).collect::<String>(),
                error.instance_path()
            );
        }
    }
}
