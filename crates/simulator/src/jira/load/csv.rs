//! Comma-separated values as database dumps write them: quotes doubled, line breaks within.

use anyhow::{Context, ensure};

/// Rows by column; the first line that is not empty names the columns.
pub(super) fn column(text: &str, name: &str) -> anyhow::Result<Vec<String>> {
    let mut rows =
        rows(text).into_iter().filter(|row| row.len() > 1 || row.first().is_some_and(|one| !one.is_empty()));
    let head = rows.next().context("no line")?;
    let index = head.iter().position(|one| one == name).with_context(|| format!("no column {name}"))?;
    rows.map(|row| {
        ensure!(row.len() == head.len(), "a row of {} values under {} names", row.len(), head.len());
        Ok(row.into_iter().nth(index).unwrap_or_default())
    })
    .collect()
}

fn rows(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut value) = (Vec::new(), Vec::new(), String::new());
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                value.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut value)),
            '\r' if !quoted && chars.peek() == Some(&'\n') => {}
            '\n' if !quoted => {
                row.push(std::mem::take(&mut value));
                rows.push(std::mem::take(&mut row));
            }
            c => value.push(c),
        }
    }
    if !value.is_empty() || !row.is_empty() {
        row.push(value);
        rows.push(row);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_commas_and_line_breaks_within_values_are_text() {
        let text = "\n\"id\",\"data\"\n1,\"{\"\"a\"\":\"\"x,\ny\"\"}\"\n2,plain\n";
        assert_eq!(column(text, "data").unwrap(), ["{\"a\":\"x,\ny\"}", "plain"]);
        assert!(column("a,b\n1\n", "a").is_err());
    }
}
