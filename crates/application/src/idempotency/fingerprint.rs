//! What two requests must have in common to be the same request.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use sha2::{Digest, Sha256};

/// How deep JSON is looked into; no request is taken that is nested deeper.
const MAX_DEPTH: usize = 64;

/// SHA-256 over method, path, query and body. JSON counts by its content: the order of names and the space between
/// them do not matter, numbers do as they are written. A body that is not JSON counts byte by byte.
pub fn fingerprint(method: &str, path: &str, query: Option<&str>, body: &[u8]) -> [u8; 32] {
    let canonical = canonical(body);
    let (kind, body) = match &canonical {
        Some(json) => (&b"json"[..], json.as_slice()),
        None => (&b"raw"[..], body),
    };
    let mut hash = Sha256::new();
    for part in [method.as_bytes(), path.as_bytes(), query.unwrap_or_default().as_bytes(), kind, body] {
        // The length first, so that no two requests give the same bytes.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// JSON with its names sorted and no space. `None` when it is not JSON, or nested too deep to look into.
fn canonical(body: &[u8]) -> Option<Vec<u8>> {
    // Checked as a whole first: what follows only has to find its way through valid JSON.
    serde_json::from_slice::<IgnoredAny>(body).ok()?;
    let mut out = Vec::with_capacity(body.len());
    Reader { json: body, at: 0 }.value(&mut out, 0)?;
    Some(out)
}

struct Reader<'a> {
    json: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, out: &mut Vec<u8>, depth: usize) -> Option<()> {
        match self.peek()? {
            b'{' if depth < MAX_DEPTH => self.object(out, depth),
            b'[' if depth < MAX_DEPTH => self.array(out, depth),
            b'{' | b'[' => None,
            b'"' => {
                out.extend(self.string()?);
                Some(())
            }
            _ => {
                out.extend_from_slice(self.word());
                Some(())
            }
        }
    }

    fn object(&mut self, out: &mut Vec<u8>, depth: usize) -> Option<()> {
        self.at += 1;
        // Of a name given twice the last counts, as it does for whoever reads the body into a map.
        let mut members: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        while self.peek()? != b'}' {
            let name = self.string()?;
            self.skip(b':')?;
            let mut value = Vec::new();
            self.value(&mut value, depth + 1)?;
            members.insert(name, value);
            if self.peek()? == b',' {
                self.at += 1;
            }
        }
        self.at += 1;
        out.push(b'{');
        for (n, (name, value)) in members.iter().enumerate() {
            if n > 0 {
                out.push(b',');
            }
            out.extend_from_slice(name);
            out.push(b':');
            out.extend_from_slice(value);
        }
        out.push(b'}');
        Some(())
    }

    fn array(&mut self, out: &mut Vec<u8>, depth: usize) -> Option<()> {
        self.at += 1;
        out.push(b'[');
        while self.peek()? != b']' {
            self.value(out, depth + 1)?;
            if self.peek()? == b',' {
                self.at += 1;
                out.push(b',');
            }
        }
        self.at += 1;
        out.push(b']');
        Some(())
    }

    /// A string in its one normal spelling; as it stands where it spells no text (half of a surrogate pair).
    fn string(&mut self) -> Option<Vec<u8>> {
        self.peek()?;
        let begin = self.at;
        let mut at = begin + 1;
        loop {
            match self.json.get(at)? {
                b'\\' => at += 2,
                b'"' => break,
                _ => at += 1,
            }
        }
        self.at = at + 1;
        let written = self.json.get(begin..=at)?;
        let normal = serde_json::from_slice::<String>(written).and_then(|text| serde_json::to_vec(&text));
        Some(normal.unwrap_or_else(|_| written.to_vec()))
    }

    /// A number, `true`, `false` or `null`.
    fn word(&mut self) -> &'a [u8] {
        let rest = &self.json[self.at..];
        let end = rest
            .iter()
            .position(|byte| matches!(byte, b',' | b']' | b'}') || byte.is_ascii_whitespace())
            .unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn skip(&mut self, expected: u8) -> Option<()> {
        (self.peek()? == expected).then(|| self.at += 1)
    }

    /// The next byte that is not space.
    fn peek(&mut self) -> Option<u8> {
        while self.json.get(self.at)?.is_ascii_whitespace() {
            self.at += 1;
        }
        self.json.get(self.at).copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn of(body: &str) -> [u8; 32] {
        fingerprint("POST", "/x", None, body.as_bytes())
    }

    fn text(json: &str) -> String {
        canonical(json.as_bytes()).map_or_else(|| "not JSON".into(), |json| String::from_utf8(json).unwrap())
    }

    #[test]
    fn order_of_names_space_and_spelling_do_not_matter() {
        assert_eq!(text(r#" { "b" : [ 1 , {"d":0,"c":null} ] , "\u0061" : "\u00e4\/" } "#), {
            r#"{"a":"ä/","b":[1,{"c":null,"d":0}]}"#
        });
        assert_eq!(text(r#"{"a":1,"a":2}"#), r#"{"a":2}"#);
        assert_eq!(text("[]"), "[]");
        assert_eq!(text(r#""\ud800""#), r#""\ud800""#);
    }

    #[test]
    fn numbers_count_as_they_are_written() {
        assert_ne!(of(r#"{"n":1}"#), of(r#"{"n":1.0}"#));
        assert_ne!(of(r#"{"n":100000000000000000000000}"#), of(r#"{"n":100000000000000000000001}"#));
    }

    #[test]
    fn what_is_not_json_counts_by_its_bytes() {
        for body in ["", " ", "{", "{}x", "name=a", &"[".repeat(70), &("[".repeat(70) + &"]".repeat(70))] {
            assert_eq!(canonical(body.as_bytes()), None, "{body}");
        }
        assert_ne!(of(""), of(" "));
        assert_ne!(of(""), of("{}"));
    }

    #[test]
    fn every_part_of_a_request_counts_and_none_runs_into_the_next() {
        let base = fingerprint("POST", "/a", Some("b=1"), b"{}");
        for other in [
            fingerprint("PUT", "/a", Some("b=1"), b"{}"),
            fingerprint("POST", "/ab", Some("=1"), b"{}"),
            fingerprint("POST", "/a", Some("b=2"), b"{}"),
            fingerprint("POST", "/a", Some("b=1"), b"[]"),
        ] {
            assert_ne!(base, other);
        }
    }

    /// Any JSON, with numbers that have one spelling.
    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::hash_map(any::<String>(), inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// Writes the value with its names in another order, odd space, and characters escaped that need not be.
    fn scramble(value: &Value, seed: u64, out: &mut String) {
        let space = [" ", "", "\n\t", "\r"][(seed % 4) as usize];
        let next = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        match value {
            Value::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                members.sort_by_key(|(name, _)| {
                    name.bytes().fold(next, |n, byte| n.rotate_left(7) ^ u64::from(byte))
                });
                out.push('{');
                for (n, (name, value)) in members.into_iter().enumerate() {
                    out.push_str(if n > 0 { "," } else { "" });
                    out.push_str(space);
                    scramble(&Value::from(name.as_str()), next >> 3, out);
                    out.push_str(space);
                    out.push(':');
                    scramble(value, next >> 5, out);
                }
                out.push('}');
            }
            Value::Array(items) => {
                out.push('[');
                for (n, item) in items.iter().enumerate() {
                    out.push_str(if n > 0 { "," } else { "" });
                    scramble(item, next >> 3, out);
                    out.push_str(space);
                }
                out.push(']');
            }
            Value::String(text) => {
                out.push('"');
                for unit in text.encode_utf16() {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
                out.push('"');
            }
            other => out.push_str(&other.to_string()),
        }
        out.push_str(space);
    }

    proptest! {
        // Security requirement 64.
        #[test]
        fn the_same_content_has_the_same_fingerprint_however_it_is_written(value in json(), seed: u64) {
            let mut scrambled = String::new();
            scramble(&value, seed, &mut scrambled);
            prop_assert_eq!(of(&value.to_string()), of(&scrambled), "{}", scrambled);
        }

        #[test]
        fn other_content_has_another_fingerprint(a in json(), b in json()) {
            prop_assert_eq!(a == b, of(&a.to_string()) == of(&b.to_string()));
        }

        #[test]
        fn no_bytes_make_it_fail(body: Vec<u8>) {
            let _ = fingerprint("POST", "/x", None, &body);
        }

        #[test]
        fn the_canonical_form_is_json_with_the_same_content(value in json()) {
            let canonical = canonical(value.to_string().as_bytes()).unwrap();
            prop_assert_eq!(serde_json::from_slice::<Value>(&canonical).unwrap(), value);
        }
    }
}
