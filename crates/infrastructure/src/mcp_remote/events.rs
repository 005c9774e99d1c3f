//! Server-sent events as they come in pieces (WHATWG HTML, 9.2.6): only their data, which is all that the protocol uses.

use bytes::{Bytes, BytesMut};

/// The largest event that is read.
pub(super) const MOST_EVENT: usize = 32 * 1024 * 1024;

/// An event was larger than [`MOST_EVENT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge;

/// Puts events together from pieces of any size.
#[derive(Debug, Default)]
pub struct Events {
    unread: BytesMut,
    data: Vec<u8>,
    /// An empty line of data is data as well.
    any: bool,
    /// The line before ended with a carriage return, whose line feed may still come.
    after_return: bool,
}

impl Events {
    /// Takes the next piece.
    pub fn feed(&mut self, piece: &[u8]) -> Result<(), TooLarge> {
        if self.unread.len() + self.data.len() + piece.len() > MOST_EVENT {
            return Err(TooLarge);
        }
        self.unread.extend_from_slice(piece);
        Ok(())
    }

    /// The data of the next event that is complete. Comments and events without data are passed over.
    #[expect(clippy::should_implement_trait, reason = "more may come after None")]
    pub fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.after_return && !self.unread.is_empty() {
                self.after_return = false;
                if self.unread[0] == b'\n' {
                    let _ = self.unread.split_to(1);
                }
            }
            let end = self.unread.iter().position(|byte| matches!(byte, b'\n' | b'\r'))?;
            let line = self.unread.split_to(end + 1);
            self.after_return = line[end] == b'\r';
            let line = &line[..end];
            if line.is_empty() {
                if std::mem::take(&mut self.any) {
                    return Some(std::mem::take(&mut self.data).into());
                }
                continue;
            }
            let Some(rest) = line.strip_prefix(b"data") else { continue };
            let value = match rest.strip_prefix(b":") {
                Some(value) => value.strip_prefix(b" ").unwrap_or(value),
                None if rest.is_empty() => rest,
                None => continue,
            };
            if self.any {
                self.data.push(b'\n');
            }
            self.any = true;
            self.data.extend_from_slice(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(pieces: &[&[u8]]) -> Vec<String> {
        let mut events = Events::default();
        let mut read = Vec::new();
        for piece in pieces {
            events.feed(piece).unwrap();
            while let Some(data) = events.next() {
                read.push(String::from_utf8(data.to_vec()).unwrap());
            }
        }
        read
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_give_the_events_that_were_sent(
            sent in prop::collection::vec(prop::collection::vec("[a-zäö{}:\" ]{0,12}", 1..3), 0..5),
            line_end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
            cuts in prop::collection::vec(0usize..400, 0..12),
        ) {
            let mut text = format!(": hello{line_end}id: 1{line_end}{line_end}");
            for event in &sent {
                text.push_str(&format!("event: message{line_end}"));
                for line in event {
                    text.push_str(&format!("data: {line}{line_end}"));
                }
                text.push_str(line_end);
            }
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts {
                pieces.push(&bytes[from..cut]);
                from = cut;
            }
            pieces.push(&bytes[from..]);
            let expected: Vec<String> = sent.iter().map(|lines| lines.join("\n")).collect();
            prop_assert_eq!(read(&pieces), expected);
        }
    }

    #[test]
    fn an_event_without_an_end_does_not_fill_the_memory() {
        let mut events = Events::default();
        events.feed(&vec![b'x'; MOST_EVENT]).unwrap();
        assert_eq!(events.next(), None);
        assert_eq!(events.feed(b"x"), Err(TooLarge));
    }
}
