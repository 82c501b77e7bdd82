//! The tables of the page.

use super::cells::load_name;
use super::number::ABSENT;
use crate::results::Point;

/// A table of texts.
pub struct Table {
    /// Of the section.
    pub id: &'static str,
    /// Its heading.
    pub title: &'static str,
    /// What the heading does not say; may be empty.
    pub note: &'static str,
    /// Names of the columns.
    pub head: Vec<&'static str>,
    /// As many cells as columns.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// The alignment of a column: words left (long ones in several lines), numbers right.
    pub fn class(&self, column: &usize) -> &'static str {
        match self.head[*column] {
            "first message" | "warning" | "throttled by" | "what was compared" => "words long",
            "configuration" | "load" | "time" | "kind" | "trace" | "target" | "metric" | "verdict" => "words",
            _ => "",
        }
    }

    /// Removes the columns of configuration and repeat if all rows have the same.
    pub fn narrowed(mut self) -> Self {
        for (name, common) in [("configuration", ABSENT), ("repeat", "1")] {
            let column = self.head.iter().position(|head| *head == name);
            let Some(at) = column.filter(|at| self.rows.iter().all(|row| row[*at] == common)) else {
                continue;
            };
            self.head.remove(at);
            self.rows.iter_mut().for_each(|row| {
                row.remove(at);
            });
        }
        self
    }
}

/// The first columns of each table.
const KEY: [&str; 4] = ["configuration", "batch", "load", "repeat"];

/// The cells of these columns.
pub fn key(point: &Point) -> Vec<String> {
    let key = &point.key;
    let name = if key.configuration.is_empty() { ABSENT } else { &key.configuration };
    let load = match (&key.load, point.concurrency) {
        (crate::plan::Load::MaxThroughput, Some(n)) => format!("max throughput (concurrency {n})"),
        (load, _) => load_name(load),
    };
    vec![name.into(), key.batch.to_string(), load, (key.repeat + 1).to_string()]
}

/// A table about points: the key, and further columns.
pub fn table(
    id: &'static str,
    (title, note): (&'static str, &'static str),
    columns: &[&'static str],
    rows: impl Iterator<Item = Vec<String>>,
) -> Table {
    Table {
        id,
        title,
        note,
        head: KEY.into_iter().chain(columns.iter().copied()).collect(),
        rows: rows.collect(),
    }
}

/// So that what is wrong stands out.
pub fn yes_no(value: Option<bool>) -> String {
    value.map_or(ABSENT, |yes| if yes { "yes" } else { "NO" }).into()
}
