//! What both pages share.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use askama::Template;

use crate::report::figure::Plot;
use crate::report::page::Shown;
use crate::report::table::Table;
use crate::report::{draw, save};

/// A page about two sides.
#[derive(Template)]
#[template(path = "comparison.html")]
pub struct Page {
    pub title: String,
    pub tool: String,
    pub facts: Vec<(&'static str, String)>,
    pub findings: Vec<String>,
    pub tables: Vec<Table>,
    pub pictures: Vec<Shown>,
}

/// Writes the page to a file in the folder, and its plots below `plots/`.
pub fn write(mut page: Page, plots: Vec<Plot>, folder: &Path, file: &str) -> Result<PathBuf> {
    page.pictures = draw(plots, folder)?;
    page.tables.retain(|table| !table.rows.is_empty());
    let path = folder.join(file);
    save(&path, page.render().with_context(|| format!("cannot render {file}"))?.as_bytes())?;
    Ok(path)
}

/// Columns of words left, of numbers right, with two blanks between them.
pub fn aligned(rows: &[Vec<String>], words: &[usize]) -> String {
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
