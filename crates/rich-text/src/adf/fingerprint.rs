//! Fingerprints of nodes, without recursion: a document may be nested as deeply as it likes.

use serde_json::{Map, Value};

use crate::token::Fingerprint;

/// Of a node with everything in it.
pub(super) fn whole(node: &Value) -> u128 {
    feed(Fingerprint::new("whole"), vec![Step::Value(node)]).value()
}

/// Of a node without its content.
pub(super) fn shell(node: &Map<String, Value>) -> u128 {
    let mut steps = Vec::new();
    for (key, value) in node.iter().filter(|(key, _)| *key != "content") {
        steps.push(Step::Value(value));
        steps.push(Step::Sign(key));
    }
    feed(Fingerprint::new("shell"), steps).value()
}

/// The type of a node.
pub(super) fn type_of(node: &Value) -> &str {
    node.get("type").and_then(Value::as_str).unwrap_or("node")
}

enum Step<'a> {
    Value(&'a Value),
    Sign(&'a str),
}

fn feed<'a>(mut print: Fingerprint, mut steps: Vec<Step<'a>>) -> Fingerprint {
    while let Some(step) = steps.pop() {
        print = match step {
            Step::Sign(sign) => print.part(sign),
            Step::Value(Value::Array(values)) => {
                steps.push(Step::Sign("]"));
                steps.extend(values.iter().rev().map(Step::Value));
                print.part("[")
            }
            Step::Value(Value::Object(values)) => {
                steps.push(Step::Sign("}"));
                for (key, value) in values.iter().rev() {
                    steps.push(Step::Value(value));
                    steps.push(Step::Sign(key));
                }
                print.part("{")
            }
            Step::Value(Value::String(text)) => print.part("s").part(text),
            Step::Value(scalar) => print.part("v").part(&scalar.to_string()),
        };
    }
    print
}
