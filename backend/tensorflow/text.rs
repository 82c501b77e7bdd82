//! A saved_model.pbtxt, a SavedModel as text, as the bytes that it stands for: those parts that [`super::outline`] reads.

use std::io;
use std::iter::Peekable;
use std::str::Chars;

/// Messages inside messages; TensorFlow's own reader follows no more.
const MOST_LEVELS: usize = 100;

/// A kind of message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    SavedModel,
    MetaGraph,
    MetaInfo,
    Graph,
    Library,
    Function,
    Signature,
    Gradient,
    Operation,
    Attribute,
    Value,
    List,
    NameAttrs,
    /// None of those that are read.
    Other,
}

/// The fields that are read: of which message, the name and the number, and what message it is; nothing for a text.
const FIELDS: [(Kind, &str, u8, Option<Kind>); 25] = [
    (Kind::SavedModel, "meta_graphs", 2, Some(Kind::MetaGraph)),
    (Kind::MetaGraph, "meta_info_def", 1, Some(Kind::MetaInfo)),
    (Kind::MetaGraph, "graph_def", 2, Some(Kind::Graph)),
    (Kind::MetaInfo, "tags", 4, None),
    (Kind::Graph, "node", 1, Some(Kind::Operation)),
    (Kind::Graph, "library", 2, Some(Kind::Library)),
    (Kind::Library, "function", 1, Some(Kind::Function)),
    (Kind::Library, "gradient", 2, Some(Kind::Gradient)),
    (Kind::Function, "signature", 1, Some(Kind::Signature)),
    (Kind::Function, "node_def", 3, Some(Kind::Operation)),
    (Kind::Signature, "name", 1, None),
    (Kind::Signature, "input_arg", 2, Some(Kind::Other)),
    (Kind::Signature, "output_arg", 3, Some(Kind::Other)),
    (Kind::Gradient, "function_name", 1, None),
    (Kind::Gradient, "gradient_func", 2, None),
    (Kind::Operation, "name", 1, None),
    (Kind::Operation, "op", 2, None),
    (Kind::Operation, "input", 3, None),
    (Kind::Operation, "attr", 5, Some(Kind::Attribute)),
    (Kind::Attribute, "key", 1, None),
    (Kind::Attribute, "value", 2, Some(Kind::Value)),
    (Kind::Value, "list", 1, Some(Kind::List)),
    (Kind::Value, "func", 10, Some(Kind::NameAttrs)),
    (Kind::List, "func", 9, Some(Kind::NameAttrs)),
    (Kind::NameAttrs, "name", 1, None),
];

/// The bytes of a `SavedModel` that is written as `text`.
///
/// # Errors
/// It is no text of a message.
pub fn bytes_of(text: &str) -> io::Result<Vec<u8>> {
    let mut reader = Reader { rest: text.chars().peekable(), level: 0 };
    let bytes = reader.message(Kind::SavedModel)?;
    match reader.next()? {
        Token::End => Ok(bytes),
        token => Err(unexpected(&token)),
    }
}

#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    Text(Vec<u8>),
    Mark(char),
    End,
}

struct Reader<'t> {
    rest: Peekable<Chars<'t>>,
    level: usize,
}

impl Reader<'_> {
    /// The fields of a message, up to its end.
    fn message(&mut self, kind: Kind) -> io::Result<Vec<u8>> {
        self.level += 1;
        if self.level > MOST_LEVELS + 1 {
            return Err(invalid(format!(
                "it has messages inside messages, more than {MOST_LEVELS} levels of them"
            )));
        }
        let mut bytes = Vec::new();
        loop {
            self.space();
            match self.rest.peek() {
                None | Some('}' | '>') => break,
                Some(',' | ';') => {
                    self.rest.next();
                }
                Some('[') => {
                    // The type of an `Any`.
                    self.rest.by_ref().find(|&c| c == ']').ok_or_else(ended)?;
                    self.value(Kind::Other, "", &mut bytes)?;
                }
                Some(_) => match self.next()? {
                    Token::Word(name) => self.value(kind, &name, &mut bytes)?,
                    token => return Err(unexpected(&token)),
                },
            }
        }
        self.level -= 1;
        Ok(bytes)
    }

    /// What a field of a message has, one value or a list of them.
    fn value(&mut self, kind: Kind, name: &str, bytes: &mut Vec<u8>) -> io::Result<()> {
        let field = match (kind, name) {
            // An attribute's are attributes again.
            (Kind::NameAttrs, "attr") => Some((2, Some(Kind::Attribute))),
            _ => FIELDS
                .iter()
                .find(|(of, known, ..)| *of == kind && *known == name)
                .map(|(_, _, number, message)| (*number, *message)),
        };
        let mut token = self.next()?;
        if token == Token::Mark(':') {
            token = self.next()?;
        }
        if token != Token::Mark('[') {
            return self.single(token, field, bytes);
        }
        loop {
            match self.next()? {
                Token::Mark(']') => return Ok(()),
                Token::Mark(',') => {}
                token => self.single(token, field, bytes)?,
            }
        }
    }

    fn single(
        &mut self,
        token: Token,
        field: Option<(u8, Option<Kind>)>,
        bytes: &mut Vec<u8>,
    ) -> io::Result<()> {
        match token {
            Token::Mark(open @ ('{' | '<')) => {
                let kind = field.and_then(|(_, message)| message);
                let message = self.message(kind.unwrap_or(Kind::Other))?;
                let close = if open == '{' { '}' } else { '>' };
                match self.next()? {
                    Token::Mark(mark) if mark == close => {}
                    token => return Err(unexpected(&token)),
                }
                if let Some((number, Some(_))) = field {
                    write(number, &message, bytes);
                }
                Ok(())
            }
            Token::Text(mut text) => {
                // Texts that follow one another are one.
                loop {
                    self.space();
                    if !matches!(self.rest.peek(), Some('"' | '\'')) {
                        break;
                    }
                    if let Token::Text(more) = self.next()? {
                        text.extend(more);
                    }
                }
                if let Some((number, None)) = field {
                    write(number, &text, bytes);
                }
                Ok(())
            }
            Token::Word(_) => Ok(()),
            token => Err(unexpected(&token)),
        }
    }

    fn space(&mut self) {
        while let Some(&c) = self.rest.peek() {
            if c == '#' {
                self.rest.by_ref().find(|&c| c == '\n');
            } else if c.is_whitespace() {
                self.rest.next();
            } else {
                break;
            }
        }
    }

    fn next(&mut self) -> io::Result<Token> {
        self.space();
        let is_word = |c: char| c.is_alphanumeric() || "_.+-".contains(c);
        match self.rest.next() {
            None => Ok(Token::End),
            Some(quote @ ('"' | '\'')) => self.text(quote).map(Token::Text),
            Some(c) if is_word(c) => {
                let mut word = String::from(c);
                while let Some(c) = self.rest.next_if(|&c| is_word(c)) {
                    word.push(c);
                }
                // A sign may stand apart from its number.
                if word == "-" && self.rest.peek().is_some_and(|c| c.is_whitespace()) {
                    return self.next();
                }
                Ok(Token::Word(word))
            }
            Some(mark) => Ok(Token::Mark(mark)),
        }
    }

    /// The rest of a text that ends with `quote`.
    fn text(&mut self, quote: char) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        loop {
            match self.rest.next().ok_or_else(ended)? {
                c if c == quote => return Ok(text),
                '\\' => self.escaped(&mut text)?,
                c => text.extend(c.encode_utf8(&mut [0; 4]).bytes()),
            }
        }
    }

    fn escaped(&mut self, text: &mut Vec<u8>) -> io::Result<()> {
        let c = self.rest.next().ok_or_else(ended)?;
        match c {
            'a' => text.push(7),
            'b' => text.push(8),
            'f' => text.push(12),
            'n' => text.push(b'\n'),
            'r' => text.push(b'\r'),
            't' => text.push(b'\t'),
            'v' => text.push(11),
            '0'..='7' => text.push(self.number(c.to_digit(8), 8, 2) as u8),
            'x' | 'X' => text.push(self.number(None, 16, 2) as u8),
            'u' | 'U' => {
                let code = self.number(None, 16, if c == 'u' { 4 } else { 8 });
                let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                text.extend(c.encode_utf8(&mut [0; 4]).bytes());
            }
            c => text.extend(c.encode_utf8(&mut [0; 4]).bytes()),
        }
        Ok(())
    }

    /// A number of `first` and at most so many further digits.
    fn number(&mut self, first: Option<u32>, radix: u32, most: usize) -> u32 {
        let mut number = first.unwrap_or(0);
        for _ in 0..most {
            let Some(digit) = self.rest.next_if(|c| c.is_digit(radix)) else { break };
            number = number.wrapping_mul(radix).wrapping_add(digit.to_digit(radix).unwrap_or(0));
        }
        number
    }
}

/// Writes a field with a length.
fn write(number: u8, content: &[u8], bytes: &mut Vec<u8>) {
    bytes.push(number << 3 | 2);
    prost::encoding::encode_varint(content.len() as u64, bytes);
    bytes.extend(content);
}

fn unexpected(token: &Token) -> io::Error {
    match token {
        Token::End => ended(),
        Token::Word(word) => invalid(format!("'{word}' is where it cannot be")),
        Token::Text(_) => invalid("a text is where it cannot be".into()),
        Token::Mark(mark) => invalid(format!("'{mark}' is where it cannot be")),
    }
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "it ends in the middle of a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_as_bytes() {
        let text = r#"
            saved_model_schema_version: 1  # a comment: { "
            meta_graphs {
              meta_info_def { tags: "ser" 've' tags: ["a", '\x62\143'] any_info { [type.googleapis.com/x.Y] { z: 1 } } }
              graph_def < node { name: "n" op: "Neg"; attr { key: "T", value { type: DT_FLOAT f: -1.5e-3 } } }, >
              signature_def { key: "s" value: { } }
            }
        "#;
        let expected = [
            &b"\x12\x23\x0a\x0e\x22\x05serve\x22\x01a\x22\x02bc"[..],
            b"\x12\x11\x0a\x0f\x0a\x01n\x12\x03Neg\x2a\x05\x0a\x01T\x12\x00",
        ]
        .concat();
        assert_eq!(bytes_of(text).unwrap(), expected);
        assert!(bytes_of("").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_text_of_a_message_says_why() {
        for (text, why) in [
            ("meta_graphs {", "ends in the middle"),
            ("meta_graphs", "ends in the middle"),
            ("meta_graphs { } }", "'}' is where it cannot be"),
            ("meta_graphs { >", "'>' is where"),
            ("x: \"abc", "ends in the middle"),
            ("x: [1, 2", "ends in the middle"),
            ("\u{0}\u{0}", "is where it cannot be"),
            ("\"x\"", "a text is where"),
        ] {
            let error = bytes_of(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text:?}: {error}");
        }
        assert!(bytes_of(&"x {".repeat(20_000)).unwrap_err().to_string().contains("more than 100 levels"));
    }
}
