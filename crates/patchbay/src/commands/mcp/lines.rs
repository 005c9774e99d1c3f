//! Standard input and output as lines, each in a thread of its own: reading a terminal or a pipe cannot be cancelled, and
//! must not keep the process from ending.

use std::io::{BufRead, BufReader, Read, Write};
use std::thread;

use infrastructure::mcp_remote::Message;
use tokio::sync::mpsc;

/// The largest message that is read. Servers take no larger ones.
const MOST_LINE: u64 = 1024 * 1024;
/// Lines that wait.
const WAITING: usize = 16;

/// A line, or that it was too long.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Text(Vec<u8>),
    TooLong,
}

/// The lines of `input`, until it ends.
pub(super) fn read(input: impl Read + Send + 'static) -> mpsc::Receiver<Line> {
    let (sender, receiver) = mpsc::channel(WAITING);
    thread::spawn(move || {
        let mut input = BufReader::new(input);
        while let Some(line) = next_line(&mut input) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// `None` at the end; what cannot be read is an end as well.
fn next_line(input: &mut impl BufRead) -> Option<Line> {
    let mut line = Vec::new();
    let count = input.by_ref().take(MOST_LINE).read_until(b'\n', &mut line).ok()?;
    if count == 0 {
        return None;
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        return Some(Line::Text(line));
    }
    if u64::try_from(count).is_ok_and(|count| count < MOST_LINE) {
        // The last line, which nobody ended.
        return Some(Line::Text(line));
    }
    loop {
        line.clear();
        let more = input.by_ref().take(MOST_LINE).read_until(b'\n', &mut line).ok()?;
        if more == 0 || line.last() == Some(&b'\n') {
            return Some(Line::TooLong);
        }
    }
}

/// Writes messages as lines, until nobody sends or reads any more.
pub(super) fn write(
    mut output: impl Write + Send + 'static,
) -> (mpsc::Sender<Message>, thread::JoinHandle<()>) {
    let (sender, mut receiver) = mpsc::channel::<Message>(WAITING);
    let writing = thread::spawn(move || {
        while let Some(message) = receiver.blocking_recv() {
            let mut line = message.to_vec();
            // JSON may be written over several lines; a line break inside of a string stands there escaped.
            line.retain(|byte| !matches!(byte, b'\n' | b'\r'));
            line.push(b'\n');
            if output.write_all(&line).and_then(|()| output.flush()).is_err() {
                return;
            }
        }
    });
    (sender, writing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_with_the_input_and_too_long_ones_are_told() {
        let most = usize::try_from(MOST_LINE).unwrap();
        let mut text = b"{}\r\n\nlast but one\n".to_vec();
        text.extend(vec![b'x'; most * 2 + 7]);
        text.extend(b"\nlast");
        let mut input = text.as_slice();
        let mut lines = Vec::new();
        while let Some(line) = next_line(&mut input) {
            lines.push(line);
        }
        let text = |text: &str| Line::Text(text.as_bytes().to_vec());
        assert_eq!(lines, [text("{}"), text(""), text("last but one"), Line::TooLong, text("last")]);
    }
}
