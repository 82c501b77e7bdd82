//! The pages of `diff` and `ab`.

mod ab;
mod diff;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use askama::Template;

use super::figure::Plot;
use super::page::Shown;
use super::table::Table;
use super::{draw, save};
pub use ab::write as write_ab;
pub use diff::{Named, text as diff_text, write as write_diff};

/// A page about two sides.
#[derive(Template)]
#[template(path = "comparison.html")]
struct Page {
    title: String,
    tool: String,
    facts: Vec<(&'static str, String)>,
    findings: Vec<String>,
    tables: Vec<Table>,
    pictures: Vec<Shown>,
}

/// Writes the page to a file in the folder, and its plots below `plots/`.
fn write(mut page: Page, plots: Vec<Plot>, folder: &Path, file: &str) -> Result<PathBuf> {
    page.pictures = draw(plots, folder)?;
    page.tables.retain(|table| !table.rows.is_empty());
    let path = folder.join(file);
    save(&path, page.render().with_context(|| format!("cannot render {file}"))?.as_bytes())?;
    Ok(path)
}

/// Columns of words left, of numbers right, with two blanks between them.
fn aligned(rows: &[Vec<String>], words: &[usize]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            match words.contains(&column) {
                true => line += &format!("{cell:width$}  "),
                false => line += &format!("{cell:>width$}  "),
            }
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}
