//! Reading a server's log.

/// The part of a log that explains why a server ended: the last `count` error lines, and the last `count` lines.
/// Empty lines and tables are left out.
pub(crate) fn end(log: &str, count: usize) -> String {
    let lines: Vec<&str> =
        log.lines().filter(|line| !line.trim().is_empty() && !line.starts_with(['|', '+'])).collect();
    let (before, end) = lines.split_at(lines.len().saturating_sub(count));
    let errors: Vec<&str> = before.iter().filter(|line| error_in(line).is_some()).copied().collect();
    let errors = &errors[errors.len().saturating_sub(count)..];
    [errors, end].concat().join("\n")
}

/// The message of an error line: of `E1123 13:25:04.824861 23262 file.cc:1460] "message"` or
/// `[libprotobuf ERROR file.cc:335] message`. None for other lines.
pub fn error_in(line: &str) -> Option<&str> {
    let (prefix, message) = line.split_once("] ")?;
    let of_server =
        prefix.strip_prefix('E').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    (of_server || prefix.starts_with("[libprotobuf ERROR")).then(|| {
        let message = message.trim();
        message.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_holds_the_last_lines_and_earlier_errors() {
        let lines: String = (1..=20).map(|number| format!("line {number}\n\n")).collect();
        let log = format!("first\nE1123 13:25:04.8 7 a.cc:1] \"reason\"\n{lines}| table |\n+---+\n");
        let expected: Vec<String> = (15..=20).map(|number| format!("line {number}")).collect();
        assert_eq!(end(&log, 6), format!("E1123 13:25:04.8 7 a.cc:1] \"reason\"\n{}", expected.join("\n")));
        assert_eq!(end("one", 6), "one");
    }

    #[test]
    fn errors_are_told_from_other_lines() {
        let of_server = r#"E1123 13:25:04.824861 7 model_repository_manager.cc:1460] "Poll failed""#;
        assert_eq!(error_in(of_server), Some("Poll failed"));
        assert_eq!(error_in("[libprotobuf ERROR text_format.cc:335] 1:2: no field"), Some("1:2: no field"));
        assert_eq!(error_in(r#"I1123 13:25:04.1 7 a.cc:1] "fine""#), None);
        assert_eq!(error_in("Error: something else] x"), None);
    }
}
