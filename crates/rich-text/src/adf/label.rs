//! What a placeholder says to its reader.

use serde_json::Value;

use super::fingerprint::type_of;

const MAX_EXCERPT: usize = 60;

/// A few words about a node.
pub(super) fn of(node: &Value) -> String {
    let attr = |name: &str| {
        node.pointer(&format!("/attrs/{name}")).and_then(Value::as_str).filter(|s| !s.is_empty())
    };
    let said = match type_of(node) {
        "date" => attr("timestamp").and_then(day),
        "mention" | "status" | "placeholder" => attr("text").map(str::to_owned),
        "emoji" => attr("text").or(attr("shortName")).map(str::to_owned),
        "inlineCard" | "blockCard" | "embedCard" => attr("url").map(str::to_owned),
        "extension" | "inlineExtension" | "bodiedExtension" => {
            attr("text").or(attr("extensionKey")).map(str::to_owned)
        }
        "panel" => attr("panelType").map(str::to_owned),
        "expand" | "nestedExpand" => attr("title").map(str::to_owned),
        "decisionItem" => attr("state").map(str::to_owned),
        "textColor" | "backgroundColor" | "border" => attr("color").map(str::to_owned),
        "annotation" => attr("annotationType").map(str::to_owned),
        "link" => attr("href").map(str::to_owned),
        "media" | "mediaInline" => attr("alt").or(attr("url")).or(attr("id")).map(str::to_owned),
        // Their content is not in the placeholder, or they hold nothing to say.
        "layoutSection" | "layoutColumn" | "table" | "tableRow" | "tableCell" | "tableHeader" => {
            return String::new();
        }
        _ => None,
    };
    said.unwrap_or_else(|| excerpt(node))
}

/// The first words in a node, without recursion.
fn excerpt(node: &Value) -> String {
    let mut words = String::new();
    let mut waiting = vec![node];
    while let Some(node) = waiting.pop() {
        for key in ["text", "alt"] {
            let found = node.get(key).or_else(|| node.pointer(&format!("/attrs/{key}")));
            if let Some(text) = found.and_then(Value::as_str) {
                words.push_str(text);
                words.push(' ');
            }
        }
        if words.len() >= MAX_EXCERPT {
            break;
        }
        if let Some(content) = node.get("content").and_then(Value::as_array) {
            waiting.extend(content.iter().rev());
        }
    }
    words.chars().take(MAX_EXCERPT).collect()
}

/// The day of a timestamp in milliseconds, as `2026-11-21`. The calendar's arithmetic is that of
/// <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>.
fn day(timestamp: &str) -> Option<String> {
    let days = timestamp.parse::<i64>().ok()?.div_euclid(86_400_000);
    let shifted = days.checked_add(719_468).filter(|days| days.abs() < 4_000_000)?;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    Some(format!("{year:04}-{month:02}-{day:02}"))
}

#[cfg(test)]
mod tests {
    use super::day;

    #[test]
    fn a_timestamp_is_shown_as_its_day() {
        assert_eq!(day("0").as_deref(), Some("1970-01-01"));
        assert_eq!(day("1582934400000").as_deref(), Some("2020-02-29"));
        assert_eq!(day("-1").as_deref(), Some("1969-12-31"));
        assert_eq!(day("tomorrow"), None);
        assert_eq!(day("9223372036854775807"), None);
    }
}
