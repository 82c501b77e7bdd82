//! What the rules and the dashboard in `deploy/monitoring` ask Prometheus.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

/// What is neither a function, which has its arguments behind it, nor a metric.
const AGGREGATIONS: [&str; 12] = [
    "sum",
    "min",
    "max",
    "avg",
    "group",
    "stddev",
    "stdvar",
    "count",
    "count_values",
    "bottomk",
    "topk",
    "quantile",
];
const OPERATORS: [&str; 7] = ["and", "or", "unless", "bool", "offset", "atan2", "inf"];
/// These have a list of labels behind them.
const GROUPINGS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

/// The names of the metrics in a query.
pub fn metric_names(query: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut rest = query;
    while let Some(first) = rest.chars().next() {
        if is_of_name(first) && !first.is_ascii_digit() {
            let end = rest.find(|letter| !is_of_name(letter)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            let after = after.trim_start();
            if GROUPINGS.contains(&word) {
                rest = if after.starts_with('(') { behind(after, ')') } else { after };
                continue;
            }
            if !after.starts_with('(') && !AGGREGATIONS.contains(&word) && !OPERATORS.contains(&word) {
                names.insert(word.to_owned());
            }
            rest = after;
        } else {
            rest = match first {
                '{' => behind(rest, '}'),
                '[' => behind(rest, ']'),
                '"' | '\'' | '`' => &rest[text_length(rest)..],
                // A number or a duration, such as 1e9 or 5m.
                '0'..='9' => rest.trim_start_matches(|letter| is_of_name(letter) || letter == '.'),
                '#' => rest.find('\n').map_or("", |end| &rest[end..]),
                _ => &rest[first.len_utf8()..],
            };
        }
    }
    names
}

fn is_of_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_' || letter == ':'
}

/// What follows the first `end` that is in no text.
fn behind(text: &str, end: char) -> &str {
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first == end {
            return &rest[end.len_utf8()..];
        }
        let length = if matches!(first, '"' | '\'' | '`') { text_length(rest) } else { first.len_utf8() };
        rest = &rest[length..];
    }
    panic!("'{text}' has no {end}")
}

/// The length of the text in quotes at the beginning.
fn text_length(text: &str) -> usize {
    let quote = text.chars().next().expect("a quote");
    let mut escaped = false;
    for (index, letter) in text.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quote != '`' => escaped = true,
            _ if letter == quote => return index + 1,
            _ => {}
        }
    }
    panic!("the text has no end: {text}")
}

/// Each query of the rules and of the dashboard, with where it is.
pub fn deployed_queries() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/monitoring");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("a file");
    let mut queries = queries_of_rules(&read("rules.yaml"));
    let dashboard: Value = serde_json::from_str(&read("dashboard.json")).expect("JSON");
    add_queries_of_panels(&dashboard["panels"], &mut queries);
    for variable in dashboard["templating"]["list"].as_array().expect("a list") {
        // `label_values(METRIC, LABEL)`
        let definition = variable["definition"].as_str().unwrap_or_default();
        if let Some(arguments) = definition.strip_prefix("label_values(") {
            let metric = arguments.rsplit_once(',').expect("a label").0;
            queries.push((format!("variable {}", variable["name"]), metric.to_owned()));
        }
    }
    queries
}

/// `expr: QUERY`, or `expr: |` with the query in lines that are indented further.
fn queries_of_rules(rules: &str) -> Vec<(String, String)> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let lines: Vec<&str> = rules.lines().collect();
    let mut queries = Vec::new();
    let mut rule = "";
    for (number, line) in lines.iter().enumerate() {
        let field = line.trim_start().trim_start_matches("- ");
        if let Some(name) = field.strip_prefix("record: ").or(field.strip_prefix("alert: ")) {
            rule = name;
        }
        let Some(query) = field.strip_prefix("expr: ") else { continue };
        let is_of_block = |next: &&&str| next.trim().is_empty() || indent(next) > indent(line);
        let query = match query {
            "|" => lines[number + 1..].iter().take_while(is_of_block).copied().collect::<Vec<_>>().join("\n"),
            query => query.to_owned(),
        };
        assert!(!query.trim().is_empty(), "rule {rule} has no query that this reads");
        queries.push((format!("rule {rule}"), query));
    }
    assert_eq!(queries.len(), rules.matches("expr:").count(), "a query was not read");
    queries
}

fn add_queries_of_panels(panels: &Value, queries: &mut Vec<(String, String)>) {
    for panel in panels.as_array().into_iter().flatten() {
        add_queries_of_panels(&panel["panels"], queries);
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().expect("a query").to_owned();
            queries.push((format!("panel {}", panel["title"]), query));
        }
    }
}

#[test]
fn names_are_found_in_queries() {
    for (query, expected) in [
        ("up", "up"),
        (r#"sum by (job, le) (rate(a_bucket{le="0.5", x=~"b.*}c"}[5m])) / 1e9"#, "a_bucket"),
        (r#"label_replace(a:b, "d", "e", "", "") or on (f) g offset 5m > bool 0.5"#, "a:b g"),
        ("avg(a) without (b) * on (c) group_left (d) {__name__=\"e\"} + `f` # g\n + h", "a h"),
        ("histogram_quantile(0.99, a{m=\"$model\"}[$__rate_interval])", "a"),
    ] {
        let found: Vec<String> = metric_names(query).into_iter().collect();
        assert_eq!(found.join(" "), expected, "{query}");
    }
}
