//! Which points are exported.

/// The points that are exported.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Those of this batch size; none: all.
    pub batch: Option<u32>,
    /// Those of this configuration; none: all.
    pub configuration: Option<String>,
}

impl Selection {
    /// Whether a point is one of them.
    pub fn contains(&self, configuration: &str, batch: u32) -> bool {
        self.batch.is_none_or(|wanted| wanted == batch)
            && self.configuration.as_ref().is_none_or(|wanted| wanted == configuration)
    }
}
