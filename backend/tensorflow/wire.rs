//! Protobuf messages in a file, read field by field: nothing but what is asked for is kept, and the values of tensors are
//! skipped without being read.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

/// Messages inside messages; TensorFlow's own reader follows no more.
const MOST_LEVELS: usize = 100;

/// A file of messages, from its beginning to its end.
pub struct Messages<R> {
    reader: BufReader<R>,
    at: u64,
    level: usize,
}

/// Where a field's bytes end, which begin where the reader is.
#[derive(Clone, Copy)]
pub struct Field {
    pub number: u64,
    end: u64,
}

impl<R: Read + Seek> Messages<R> {
    /// Reads `file` from where it is.
    pub fn new(file: R) -> Self {
        Self { reader: BufReader::with_capacity(64 << 10, file), at: 0, level: 0 }
    }

    /// Reads the whole file, which has `length` bytes, as one message; as [`Self::message`].
    ///
    /// # Errors
    /// The file cannot be read, or it is no message.
    pub fn whole(
        &mut self,
        length: u64,
        field: impl FnMut(&mut Self, Field) -> io::Result<()>,
    ) -> io::Result<()> {
        self.fields(length, field)
    }

    /// Reads the message that a field holds, and calls `field` for each of its fields that is a text or a message, in the
    /// order of the file. What that does not read is skipped.
    ///
    /// # Errors
    /// As for [`Self::whole`].
    pub fn message(
        &mut self,
        of: Field,
        field: impl FnMut(&mut Self, Field) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.level == MOST_LEVELS {
            return Err(broken(format!(
                "it has messages inside messages, more than {MOST_LEVELS} levels of them"
            )));
        }
        self.level += 1;
        self.fields(of.end, field)?;
        self.level -= 1;
        Ok(())
    }

    /// Reads the text that a field holds.
    ///
    /// # Errors
    /// As for [`Self::whole`].
    pub fn text(&mut self, of: Field) -> io::Result<String> {
        let length = of.end - self.at;
        let buffered = self.reader.fill_buf()?;
        // Nearly always all of it is there already.
        if let Some(text) = usize::try_from(length).ok().and_then(|length| buffered.get(..length)) {
            let text = String::from_utf8_lossy(text).into_owned();
            self.reader.consume(length as usize);
            self.at += length;
            return Ok(text);
        }
        let mut text = Vec::new();
        // Not more is reserved than there is.
        let read = self.reader.by_ref().take(length).read_to_end(&mut text)?;
        self.at += read as u64;
        if self.at < of.end {
            return Err(ended());
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn fields(
        &mut self,
        end: u64,
        mut field: impl FnMut(&mut Self, Field) -> io::Result<()>,
    ) -> io::Result<()> {
        // The groups that are open, of a kind of field that is no longer used; TensorFlow's reader skips them.
        let mut groups = Vec::new();
        while self.at < end {
            let key = self.varint()?;
            let (number, kind) = (key >> 3, key & 7);
            if number == 0 {
                return Err(broken(format!("the field at byte {} has the number 0", self.at)));
            }
            match kind {
                0 => {
                    self.varint()?;
                }
                1 => self.skip(8, end)?,
                5 => self.skip(4, end)?,
                2 => {
                    let length = self.varint()?;
                    let of = match self.at.checked_add(length).filter(|&of| of <= end) {
                        Some(end) => Field { number, end },
                        None => {
                            return Err(broken(format!(
                                "the field at byte {} has {length} bytes, and what it is in ends after {}",
                                self.at,
                                end.saturating_sub(self.at)
                            )));
                        }
                    };
                    if groups.is_empty() {
                        field(self, of)?;
                    }
                    self.skip(of.end - self.at, end)?;
                }
                3 if groups.len() < MOST_LEVELS => groups.push(number),
                4 if groups.last() == Some(&number) => {
                    groups.pop();
                }
                _ => return Err(broken(format!("the field at byte {} is of no known kind", self.at))),
            }
        }
        if self.at == end && groups.is_empty() { Ok(()) } else { Err(ended()) }
    }

    fn varint(&mut self) -> io::Result<u64> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let buffer = self.reader.fill_buf()?;
            let &byte = buffer.first().ok_or_else(ended)?;
            self.reader.consume(1);
            self.at += 1;
            // As TensorFlow's reader does, what is beyond 64 bits is dropped.
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(broken(format!("the number before byte {} does not end", self.at)))
    }

    fn skip(&mut self, bytes: u64, end: u64) -> io::Result<()> {
        if bytes > end.saturating_sub(self.at) {
            return Err(ended());
        }
        if bytes > 0 {
            self.reader.seek_relative(i64::try_from(bytes).map_err(|_| ended())?)?;
            self.at += bytes;
        }
        Ok(())
    }
}

/// The length of a file.
///
/// # Errors
/// It cannot be read.
pub fn length(file: &mut impl Seek) -> io::Result<u64> {
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(0))?;
    Ok(length)
}

fn broken(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "it ends in the middle of a message")
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// The texts of all fields, with their numbers.
    fn texts(bytes: &[u8]) -> io::Result<Vec<(u64, String)>> {
        let mut texts = Vec::new();
        Messages::new(Cursor::new(bytes)).whole(bytes.len() as u64, |messages, field| {
            texts.push((field.number, messages.text(field)?));
            Ok(())
        })?;
        Ok(texts)
    }

    #[test]
    fn texts_are_read_and_numbers_are_skipped() {
        let bytes = b"\x08\x96\x01\x12\x02ab\x0d1234\x11\x31\x32\x33\x34\x35\x36\x37\x38\xa2\x06\x00\x1b\x12\x01z\x1c\x12\x01c";
        let expected = [(2, "ab".into()), (100, String::new()), (2, "c".into())];
        assert_eq!(texts(bytes).unwrap(), expected, "what is in a group is skipped");
        assert_eq!(texts(b"").unwrap(), []);
    }

    #[test]
    fn what_is_no_message_says_why() {
        for (bytes, why) in [
            (&b"\x00"[..], "has the number 0"),
            (b"\x08", "ends in the middle"),
            (b"\x12", "ends in the middle"),
            (b"\x12\x05ab", "has 5 bytes, and what it is in ends after 2"),
            (b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "has 18446744073709551615 bytes"),
            (b"\x0d123", "ends in the middle"),
            (b"\x09", "ends in the middle"),
            (b"\x0e", "of no known kind"),
            (b"\x0c", "of no known kind"),
            (b"\x0b", "ends in the middle"),
            (b"\x0b\x14", "of no known kind"),
            (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "does not end"),
        ] {
            let error = texts(bytes).unwrap_err().to_string();
            assert!(error.contains(why), "{bytes:?}: {error}");
        }
    }

    #[test]
    fn messages_in_messages_have_an_end() {
        fn follow(messages: &mut Messages<Cursor<&[u8]>>, field: Field) -> io::Result<()> {
            messages.message(field, follow)
        }
        let nested = |levels: usize| {
            (0..levels).fold(Vec::new(), |inner: Vec<u8>, _| {
                let mut bytes = vec![0x0a];
                let mut length = inner.len();
                while length >= 0x80 {
                    bytes.push(length as u8 | 0x80);
                    length >>= 7;
                }
                bytes.push(length as u8);
                bytes.extend(inner);
                bytes
            })
        };
        let read = |levels| {
            let bytes = nested(levels);
            Messages::new(Cursor::new(&bytes[..])).whole(bytes.len() as u64, follow)
        };
        assert!(read(100).is_ok());
        assert!(read(101).unwrap_err().to_string().contains("more than 100 levels"));
        assert!(read(20_000).is_err());
    }
}
