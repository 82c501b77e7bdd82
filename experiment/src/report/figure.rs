//! The contents of a figure, independent of how it is drawn.

use super::scale::Scale;

/// One picture: panels under a common title and legend.
#[derive(Clone, Debug)]
pub struct Figure {
    /// File name without extension.
    pub name: String,
    /// What is shown.
    pub title: String,
    /// What title and axes do not say.
    pub caption: String,
    /// Two per row, unless there is only one.
    pub panels: Vec<Panel>,
    /// Whether all panels have the same range of x.
    pub share_x: bool,
    /// Whether all panels have the same range of y.
    pub share_y: bool,
}

/// One pair of axes.
#[derive(Clone, Debug)]
pub struct Panel {
    /// Distinguishes it from its neighbours; empty if it is the only one.
    pub title: String,
    /// Left to right.
    pub x: Dimension,
    /// Bottom to top.
    pub y: Dimension,
    /// In drawing order.
    pub marks: Vec<Mark>,
}

/// What one axis shows.
#[derive(Clone, Debug)]
pub struct Dimension {
    /// Quantity and unit.
    pub label: String,
    /// How it is divided.
    pub scale: Scale,
}

/// Shorthand for a [`Dimension`].
pub fn dimension(label: impl Into<String>, scale: Scale) -> Dimension {
    Dimension { label: label.into(), scale }
}

/// Some points, drawn one way.
#[derive(Clone, Debug)]
pub struct Mark {
    /// The entry in the legend; marks with the same label share it. For a rule, the text beside it.
    pub label: Option<String>,
    /// Number of colour, dashes and shape: the same for related marks.
    pub style: usize,
    /// How they are drawn.
    pub kind: Kind,
    /// x and y.
    pub points: Vec<(f64, f64)>,
}

/// How points are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A line with a marker at each point.
    Line,
    /// A line alone.
    Bare,
    /// Markers alone.
    Dots,
    /// Hollow markers.
    Hollow,
    /// Small hollow markers: the single repeats behind a mean, or single requests.
    Repeats,
    /// Horizontally to the next x, then up.
    Steps,
    /// From the axis up.
    Bars,
    /// A thin line from the first point to the last, for a range or a lollipop.
    Stem,
    /// A horizontal line across the panel at the first point's y.
    Rule,
}

/// A plot, or why there is none.
#[derive(Clone, Debug)]
pub enum Plot {
    /// The figure.
    Drawn(Box<Figure>),
    /// There is no data for it.
    Absent {
        /// Its title.
        title: String,
        /// A sentence.
        reason: String,
    },
}

impl Plot {
    /// A plot without data.
    pub fn absent(title: &str, reason: impl Into<String>) -> Self {
        Self::Absent { title: title.into(), reason: reason.into() }
    }
}
